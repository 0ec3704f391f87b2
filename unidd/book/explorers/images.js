// Distilled images of different filters, and how their power is spread over frequencies.

import { highFrequencyShare } from "./algebra.js";
import { oneOf } from "./links.js";
import { deck, mount, rightOf, setter } from "./page.js";
import {
  STYLE, area, captioned, chart, draw, ends, format, frame, h, line, logAxis, percent, readout, rule, rungs, sample,
  scale, select, sheet, text, ticks,
} from "./parts.js";

const FREQUENCIES = [[0, "0"], [0.125, "⅛"], [0.25, "¼"], [0.375, "⅜"], [0.5, "½"]];
const inWords = (name) => ({ start: "start images", real: "real data" }[name] ?? name);

export function renderImages({ model, el }) {
  const [sheets, powers, frequency] = ["sheets", "powers", "frequency"].map((name) => model.get(name));
  const methods = Object.keys(sheets).filter((name) => name !== "start");
  const chosen = select("Filter", methods, setter(model, "chosen"));
  const against = select("Compare with", [["start", "start images"], ...methods], setter(model, "against"));
  const panels = ["start", "chosen", "against"].map((role) => panel(model, role));
  const drawing = chart();
  const table = readout("Fine detail: power above ¼ cycle a pixel", ["Images", "Share", "× real data"]);

  function update(width) {
    const [one, other] = [model.get("chosen"), model.get("against")];
    const alone = other === "start" || other === one;
    chosen.set(one);
    against.set(other);
    panels.forEach(({ update: show }) => show(alone));
    const named = [["real", STYLE.real], ["start", STYLE.start], [one, styleOf(model, "chosen")],
      ...(alone ? [] : [[other, styleOf(model, "against")]])];
    const curves = named.map(([name, style]) => ({ name, style, ...powers[name] }));
    const shares = curves.map(({ mean }) => highFrequencyShare(frequency, mean));
    table.set(curves.map(({ name, style }, i) =>
      [[sample(style), inWords(name)], percent(shares[i]), format(shares[i] / shares[0])]));
    drawPowers(drawing, frequency, curves, width);
    const found = curves.map(({ name }, i) => `${inWords(name)} ${percent(shares[i])}`).join("; ");
    const sentence = `Fine detail: ${found}.`;
    drawing.setAttribute("aria-label", `Radial power spectral density. ${sentence}`);
    return sentence;
  }

  const pictures = h("div", { class: "ux-pictures" }, ...panels.map((p) => p.node));
  return mount({ model, el }, { chosen: oneOf(methods), against: oneOf(["start", ...methods]) },
    [deck({ l1: [chosen.node, against.node], r1: pictures, r2: drawing, l2: table.node })], update);
}

/** The look of the filter in a role; of two with the same look, the one it is compared with is thin. */
function styleOf(model, role) {
  const looks = model.get("looks");
  const twins = role === "against" && looks[model.get("chosen")] === looks[model.get("against")];
  return `${looks[model.get(role)]}${twins ? " ux-twin" : ""}`;
}

/** The images of a role: those at the start, those of the filter chosen, or those it is compared with. */
function panel(model, role) {
  const image = sheet(model.get("shape"));
  const caption = h("span");
  const node = captioned(image, caption);
  const update = (alone) => {
    const name = role === "start" ? "start" : model.get(role);
    const what = name === "start" ? "The images distillation starts from" : `Images distilled with ${name}`;
    node.hidden = role === "against" && alone;
    image.src = model.get("sheets")[name];
    image.alt = `${what}${model.get("names")}`;
    caption.replaceChildren(sample(name === "start" ? STYLE.start : styleOf(model, role)), inWords(name));
  };
  return { node, update };
}

/** Power against frequency, both as they are read off a photograph: low frequencies left, power in decades. */
function drawPowers(drawing, frequency, curves, room) {
  const width = rightOf(room);
  const box = frame(width, { least: 170, most: 260, share: 0.42 });
  const { bottom, across } = box;
  const edge = ({ mean, std }, sign) => mean.map((m, i) => m + sign * (std[i] ?? 0));
  const lowest = (c) => Math.min(...edge(c, -1).map((v, i) => Math.max(v, c.mean[i] / 3)));
  const axis = logAxis([Math.log10(Math.min(...curves.map(lowest))) - 0.1,
    Math.log10(Math.max(...curves.flatMap((c) => edge(c, 1)))) + 0.1], box.up);
  const X = scale([0, 0.5], across);
  const points = (values) => values.map((v, i) => [X(frequency[i]), axis.at(v)]);
  const spread = curves.some((c) => c.std.length) ? `; shaded: ± ${box.wide ? "one standard deviation" : "1 std"}` : "";
  const band = (c) => area(`ux-spread ux-${c.style}`, [...points(edge(c, 1)), ...points(edge(c, -1)).reverse()]);
  draw(drawing, width, bottom + 39, [
    text(0, 12, `share of an image's power${spread}`),
    ...rungs(axis.decades(), [across]),
    ...ticks(FREQUENCIES.map(([f, label]) => [X(f), label]), bottom),
    rule("zero", bottom, across),
    ...ends(bottom + 35, across, "← coarse", box.wide ? "frequency, cycles a pixel" : "cycles a pixel", "fine →"),
    ...curves.flatMap((c) => [...(c.std.length ? [band(c)] : []), line(c.style, points(c.mean))]),
  ]);
}
