// Explorers of UniDD, 2 of 7: what explorers are built from. Controls are native, so a keyboard works as it always does.

const SVG = "http://www.w3.org/2000/svg";
let nextId = 0;

/** An element with attributes and children; `svg:` before the tag makes an SVG element. */
function h(tag, attributes = {}, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

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
function percent(share) {
  const rest = Math.min(share, 1 - share);
  return `${(100 * share).toFixed(rest <= 1e-12 || rest >= 0.0995 ? 0 : rest < 0.00095 ? 3 : share < 0.5 || rest < 0.0105 ? 1 : 0)} %`;
}

/** A labelled native range input; `show` turns the slider's position into text. */
function slider(label, { min, max, step, show, hint }, onInput) {
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
function select(label, options, onChange) {
  const id = `ux-${nextId++}`;
  const input = h("select", { id }, ...options.map((o) => [o].flat()).map(([value, words = value]) =>
    h("option", { value }, words)));
  input.addEventListener("change", () => onChange(input.value));
  const node = h("div", { class: "ux-select" }, h("label", { for: id }, label), input);
  return { node, set: (value) => { input.value = value; } };
}

/** Check boxes that look like chips, each with a sample of its line. */
function chips(legend, items, onChange) {
  const boxes = items.map(({ name }) => {
    const box = h("input", { type: "checkbox", value: name });
    box.addEventListener("change", () => onChange(boxes.filter((b) => b.checked).map((b) => b.value)));
    return box;
  });
  const node = h("fieldset", { class: "ux-chips" }, h("legend", {}, legend), ...items.map(({ name, label }, i) =>
    h("label", { class: `ux-chip ux-${name}` }, boxes[i], sample(name), label)));
  return { node, set: (names) => boxes.forEach((b) => { b.checked = names.includes(b.value); }) };
}

/** One check box. */
function toggle(label, hint, onChange) {
  const box = h("input", { type: "checkbox" });
  box.addEventListener("change", () => onChange(box.checked));
  return { node: h("label", { class: "ux-toggle", title: hint }, box, label), set: (on) => { box.checked = on; } };
}

const sample = (name) => h("svg:svg", { class: "ux-sample", viewBox: "0 0 26 8", "aria-hidden": "true" },
  h("svg:path", { class: `ux-line ux-${name}`, d: "M1 4H25" }));

const pathOf = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
const text = (x, y, content, attributes = {}) => h("svg:text", { x, y, ...attributes }, content);

/** A table of numbers: column heads, and rows of cells whose first is the row's head. */
function readout(caption, heads) {
  const body = h("tbody");
  const node = h("table", { class: "ux-readout" }, h("caption", {}, caption),
    h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))), body);
  const set = (rows) => body.replaceChildren(...rows.map(([head, ...cells]) =>
    h("tr", {}, h("th", { scope: "row" }, ...[head].flat()), ...cells.map((cell) => h("td", {}, cell)))));
  return { node, set };
}

/** Something to see above its caption. Not a <figure>: the pages around explorers have styles of their own for those. */
const captioned = (seen, ...caption) => h("div", { class: "ux-picture" }, seen, h("div", { class: "ux-caption" }, ...caption));

/** A grey picture; `draw` takes values in [0, 1], clipped, and a label that says what is seen. */
function picture(size, label, ...caption) {
  const canvas = h("canvas", { width: size, height: size, role: "img", "aria-label": label });
  const node = captioned(canvas, ...caption);
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  const draw = (at, seen) => {
    for (let i = 0; i < size * size; i++) {
      const value = 255 * at(i); // a clamped array: out of range becomes black or white, and a fraction is rounded
      image.data.set([value, value, value, 255], 4 * i);
    }
    context.putImageData(image, 0, 0);
    canvas.setAttribute("aria-label", seen);
  };
  return { node, draw };
}

/**
 * Put an explorer on the page and keep it in step: `update` runs when one of the model's `names` changes, and when the
 * width does; it returns a sentence, which a screen reader hears at the end of a drag and not at each step of it. Gives
 * a function that takes the explorer off the page again, with `redraw` for what no trait tells.
 */
function mount({ model, el }, names, children, update) {
  const live = h("p", { class: "ux-hidden", "aria-live": "polite" });
  el.replaceChildren(h("style", {}, CSS), h("div", { class: "ux" }, ...children, live));
  let announcing;
  let drawnWidth = -1;
  const redraw = () => {
    // What is left within the card's padding and border; a page that is not laid out yet has no width.
    const sentence = update(el.clientWidth ? Math.max(240, el.clientWidth - 34) : 650);
    clearTimeout(announcing);
    announcing = setTimeout(() => { live.textContent = sentence; }, 400);
  };
  const observer = new ResizeObserver(() => {
    if (el.clientWidth === drawnWidth) return; // a redraw changes the height, which must not start another
    drawnWidth = el.clientWidth;
    redraw();
  });
  // Several traits that change together are drawn once.
  let waiting = false;
  const changed = () => {
    if (waiting) return;
    waiting = true;
    queueMicrotask(() => { waiting = false; redraw(); });
  };
  names.forEach((name) => model.on(`change:${name}`, changed));
  observer.observe(el);
  redraw();
  const unmount = () => {
    observer.disconnect();
    clearTimeout(announcing);
    names.forEach((name) => model.off(`change:${name}`, changed));
  };
  return Object.assign(unmount, { redraw });
}

/** Set some traits of the model, and let the kernel know if there is one. */
function change(model, values) {
  Object.entries(values).forEach(([name, value]) => model.set(name, value));
  model.save_changes();
}
