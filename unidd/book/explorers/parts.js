// What explorers are built from: controls, which are native, so that a keyboard works as it always does; parts of
// drawings.

const SVG = "http://www.w3.org/2000/svg";
const WIDE = 480; // pixels above which there is room for whole sentences
let nextId = 0;

const absent = (value) => value === undefined || value === null;

/** An element with attributes and children; `svg:` before the tag makes an SVG element. */
export function h(tag, attributes = {}, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || absent(value)) continue;
    node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => !absent(child)));
  return node;
}

// ---- numbers in words

/** A few significant digits, with a real minus sign and ×10ⁿ where plain digits would be long. */
export function format(value, digits = 3) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const power = Math.floor(Math.log10(Math.abs(value)));
  if (power >= -3 && power < 4) return Number(value.toPrecision(digits)).toString().replace("-", "−");
  return `${(value / 10 ** power).toFixed(1)}×10${superscript(power)}`.replace(/^-/, "−");
}

const superscript = (n) => String(n).replace(/[-0-9]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
const power10 = (k) => (k === 0 ? "1" : k === 1 ? "10" : `10${superscript(k)}`);

/** A share in %, with a decimal where it is small or nearly all. */
export function percent(share) {
  const rest = Math.min(share, 1 - share);
  const round = rest <= 1e-12 || rest >= 0.0995;
  return `${(100 * share).toFixed(round ? 0 : rest < 0.00095 ? 3 : share < 0.5 || rest < 0.0105 ? 1 : 0)} %`;
}

// ---- controls

/** A labelled native range input; `show` turns the slider's position into text. */
export function slider(label, { min, max, step, show, hint }, onInput) {
  const id = `ux-${nextId++}`;
  const output = h("output", { for: id });
  const input = h("input", { type: "range", id, min, max, step });
  input.addEventListener("input", () => onInput(Number(input.value)));
  const node = h("div", { class: "ux-slider" }, h("label", { for: id, title: hint }, label), input, output);
  const set = (position, enabled = true) => {
    input.value = position;
    input.disabled = !enabled;
    output.textContent = show();
    input.setAttribute("aria-valuetext", show());
  };
  return { node, set };
}

/** A labelled native select; options are values, or [value, text]. */
export function select(label, options, onChange) {
  const id = `ux-${nextId++}`;
  const input = h("select", { id }, ...options.map((o) => [o].flat()).map(([value, words = value]) =>
    h("option", { value }, words)));
  input.addEventListener("change", () => onChange(input.value));
  const node = h("div", { class: "ux-select" }, h("label", { for: id }, label), input);
  return { node, set: (value) => { input.value = value; } };
}

/** Check boxes that look like chips, each with a sample of its line, in the style of its name if it has no other. */
export function chips(legend, items, onChange) {
  const boxes = items.map(({ name }) => {
    const box = h("input", { type: "checkbox", value: name });
    box.addEventListener("change", () => onChange(boxes.filter((b) => b.checked).map((b) => b.value)));
    return box;
  });
  const node = h("fieldset", { class: "ux-chips" }, h("legend", {}, legend), ...items.map((item, i) => {
    const { name, label, style = name } = item;
    return h("label", { class: `ux-chip ux-${style}` }, boxes[i], sample(style), label);
  }));
  return { node, set: (names) => boxes.forEach((b) => { b.checked = names.includes(b.value); }) };
}

/** One check box. */
export function toggle(label, hint, onChange) {
  const box = h("input", { type: "checkbox" });
  box.addEventListener("change", () => onChange(box.checked));
  return { node: h("label", { class: "ux-toggle", title: hint }, box, label), set: (on) => { box.checked = on; } };
}

// ---- tables and pictures

/** A table of numbers: column heads, and rows of cells whose first is the row's head. */
export function readout(caption, heads) {
  const body = h("tbody");
  const node = h("table", { class: "ux-readout" }, h("caption", {}, caption),
    h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))), body);
  const set = (rows) => body.replaceChildren(...rows.map(([head, ...cells]) =>
    h("tr", {}, h("th", { scope: "row" }, ...[head].flat()), ...cells.map((cell) => h("td", {}, cell)))));
  return { node, set };
}

/** Something to see above its caption. No <figure>: the pages around explorers have styles of their own for those. */
export const captioned = (seen, ...caption) =>
  h("div", { class: "ux-picture" }, seen, h("div", { class: "ux-caption" }, ...caption));

/** A grey picture; `draw` takes values, what of them makes a grey in [0, 1], and what is seen. */
export function picture(size, label, ...caption) {
  const canvas = h("canvas", { width: size, height: size, role: "img", "aria-label": label });
  const node = captioned(canvas, ...caption);
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  image.data.fill(255);
  const draw = (values, seen, offset = 0, gain = 1) => {
    const { data } = image;
    for (let i = 0, at = 0; i < values.length; i++, at += 4) {
      // a clamped array: out of range becomes black or white, and a fraction is rounded
      data[at] = data[at + 1] = data[at + 2] = 255 * (offset + gain * values[i]);
    }
    context.putImageData(image, 0, 0);
    canvas.setAttribute("aria-label", seen);
  };
  return { node, draw };
}

/** A sheet of images, or the place for one: a picture whose pixels stay visible. */
export const sheet = ([width, height], src) => h("img", { src, width, height, class: "ux-pixels" });

// ---- drawings

/** The style of what is not a filter: the real side, real images at the start, and two things compared. */
export const STYLE = { real: "real", start: "allpass", one: "own", other: "other" };

/** An empty drawing. */
export const chart = () => h("svg:svg", { class: "ux-chart", role: "img" });

/** Show marks, and nothing else, in a drawing of that size. */
export function draw(node, width, height, marks) {
  const size = `0 0 ${width} ${height}`;
  if (node.getAttribute("viewBox") !== size) node.setAttribute("viewBox", size); // its change lays out the page
  node.replaceChildren(...marks);
}

/** Where curves go in a drawing `width` pixels wide: `share` of the width high, but `least` … `most` pixels. */
export function frame(width, { left = 44, top = 28, least, most, share }) {
  const [right, bottom] = [width - 10, top + Math.min(most, Math.max(least, width * share))];
  return { left, right, top, bottom, across: [left, right], up: [bottom, top], width, wide: width > WIDE };
}

/** A function that works its result out again only for arguments that are not those of the last time. */
export function remembered(make) {
  let [last, found] = [[], null];
  return (...values) => {
    if (!last.length || values.some((value, i) => value !== last[i])) [last, found] = [values, make(...values)];
    return found;
  };
}

/** The linear scale that takes a … b to the pixels from … to. */
export const scale = ([a, b], [from, to]) => (value) => from + ((value - a) / (b - a)) * (to - from);

/**
 * A logarithmic axis from 10^low to 10^high along the pixels from … to: the place of a value, at an end if it lies
 * beyond it; [place, label] of each power of ten, or of every second; and n + 1 values in equal ratios.
 */
export function logAxis([low, high], [from, to]) {
  const place = scale([low, high], [from, to]);
  const at = (value) => place(Math.min(high, Math.max(low, Math.log10(Math.max(value, Number.MIN_VALUE)))));
  const decades = (every = 1) => {
    const first = Math.ceil(low);
    return Array.from({ length: Math.floor((high - first) / every) + 1 }, (_, i) => first + i * every)
      .map((k) => [place(k), power10(k)]);
  };
  const values = (n) => Array.from({ length: n + 1 }, (_, i) => 10 ** (low + ((high - low) * i) / n));
  return { at, decades, values, holds: (value) => Math.log10(value) >= low && Math.log10(value) <= high };
}

const pathOf = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

/** A curve through points [x, y], in the style of a filter or of `STYLE`. */
export const line = (style, points) => h("svg:path", { class: `ux-line ux-${style}`, d: pathOf(points) });

/** The area within points [x, y], of a class of its own. */
export const area = (look, points) => h("svg:path", { class: look, d: `${pathOf(points)}Z` });

/** A sample of a curve, for a caption. */
export const sample = (style) => h("svg:svg", { class: "ux-sample", viewBox: "0 0 26 8", "aria-hidden": "true" },
  h("svg:path", { class: `ux-line ux-${style}`, d: "M1 4H25" }));

export const text = (x, y, content, attributes = {}) => h("svg:text", { x, y, ...attributes }, content);

/** Text around x. */
export const centred = (x, y, content) => text(x, y, content, { "text-anchor": "middle" });

/** A level line over each of some spans [from, to]. */
export const rule = (look, y, ...spans) =>
  h("svg:path", { class: `ux-${look}`, d: spans.map(([from, to]) => `M${from} ${y}H${to}`).join("") });

/** Level lines at [y, label] over the spans, labelled before the first; the one at `zero` is drawn as an axis. */
export const rungs = (marks, spans, zero) => marks.flatMap(([y, label]) => [
  rule(y === zero ? "zero" : "grid", y, ...spans), text(spans[0][0] - 6, y + 4, label, { "text-anchor": "end" }),
]);

/** Ticks at [x, label] below an axis at y. */
export const ticks = (marks, y) => marks.flatMap(([x, label]) =>
  [h("svg:path", { class: "ux-grid", d: `M${x} ${y}v5` }), centred(x, y + 17, label)]);

/** What an axis is, between what its ends mean. */
export const ends = (y, [from, to], first, name, last) => [
  text(from, y, first, { class: "ux-soft" }), centred((from + to) / 2, y, name),
  text(to, y, last, { "text-anchor": "end", class: "ux-soft" }),
];
