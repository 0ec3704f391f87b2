// What the explorer of digits shows: the ten images, accuracies by step, and the power along the eigenvectors of Ψ.

import { sum } from "./algebra.js";
import {
  STYLE, area, captioned, chart, draw, ends, format, frame, h, line, logAxis, percent, rule, rungs, sample, scale, text,
  ticks,
} from "./parts.js";

export const WHOLE = 300; // steps of a distillation
export const LEARNERS = [["own", STYLE.one, "its own learner"], ["other", STYLE.other, "nearest neighbour"]];

/** A chart with its keys below: [style, words] each. */
function keyed(keys = []) {
  const [drawing, names] = [chart(), h("div", { class: "ux-caption" })];
  const name = (pairs) => names.replaceChildren(...pairs.map((key) => h("span", {}, ...key)));
  name(keys);
  return { drawing, name, node: h("div", {}, drawing, names) };
}

/** Both charts side by side, where there is room. */
export function digitCharts() {
  const accuracy = keyed(LEARNERS.map(([, style, words]) => [sample(style), words]));
  const spectrum = keyed();
  let named;
  const update = (history, full, powers, look, width) => {
    drawAccuracy(accuracy.drawing, history, full, width);
    drawSpectrum(spectrum.drawing, powers, look, width);
    if (named !== look) {
      spectrum.name([[sample(STYLE.real), "Ψ, real"], [sample(look), "Ψₛ of the ten"],
        [h("span", { class: `ux-swatch ux-${look}` }), "|f|"]]);
    }
    named = look;
  };
  return { node: h("div", { class: "ux-pair" }, accuracy.node, spectrum.node), update };
}

/** The images, a canvas each, in a row. */
export function tenImages(n) {
  const canvases = Array.from({ length: n }, (_, k) =>
    h("canvas", { width: 8, height: 8, class: "ux-pixels", role: "img", "aria-label": `image of a ${k}` }));
  const contexts = canvases.map((canvas) => canvas.getContext("2d"));
  const image = contexts[0].createImageData(8, 8);
  image.data.fill(255);
  const caption = h("span");
  const node = captioned(h("div", { class: "ux-ten" }, ...canvases), caption);
  const show = (x, t) => {
    contexts.forEach((context, k) => {
      for (let i = 0; i < 64; i++) image.data.fill(255 * x[k * 64 + i], 4 * i, 4 * i + 3);
      context.putImageData(image, 0, 0);
    });
    caption.textContent = t ? `the ten images after ${t} steps` : "the ten images at the start: real digits";
  };
  return { node, draw: show };
}

/** Accuracy of both learners by step, and as dotted levels what all real images give. */
function drawAccuracy(drawing, history, full, width) {
  const wide = width > 620 ? width / 2 - 10 : width;
  const box = frame(wide, { left: 50, top: 26, least: 110, most: 150, share: 0.36 });
  const least = Math.min(0.4, ...history.flatMap(({ own, other }) => [own, other]));
  const low = Math.floor(10 * least) / 10;
  const [X, Y] = [scale([0, WHOLE], box.across), scale([low, 1.06], box.up)];
  const levels = [1, 0.8, 0.6, 0.4, 0.2, 0].filter((v) => v >= low);
  draw(drawing, wide, box.bottom + 26, [
    text(box.left, 14, "Test accuracy by step"),
    ...rungs(levels.map((v) => [Y(v), `${Math.round(100 * v)} %`]), [box.across]),
    ...LEARNERS.map(([side, style]) => rule(`cut ux-${style}`, Y(full[side]).toFixed(1), box.across)),
    text(box.right, Y(Math.max(full.own, full.other)) - 5, "all 1,437 images",
      { "text-anchor": "end", class: "ux-soft" }),
    ...LEARNERS.map(([side, style]) => line(style, history.map((found) => [X(found.t), Y(found[side])]))),
    ...ticks([0, 100, 200, 300].map((t) => [X(t), String(t)]), box.bottom),
  ]);
  const last = history[history.length - 1];
  drawing.setAttribute("aria-label", `Test accuracy by step. At step ${last.t} the images' own learner has `
    + `${percent(last.own)}, of ${percent(full.own)} with all, and the nearest neighbour ${percent(last.other)}.`);
}

/** Power along the eigenvectors of Ψ, real and synthetic, and as an area the filter's response. */
function drawSpectrum(drawing, { real, synthetic, response }, look, width) {
  const wide = width > 620 ? width / 2 - 10 : width;
  const box = frame(wide, { left: 50, top: 26, least: 110, most: 150, share: 0.36 });
  const shown = real.filter((lam) => lam > real[0] * 1e-4).length;
  const X = scale([0, shown - 1], box.across);
  const axis = logAxis([Math.log10(real[0]) - 4, Math.log10(real[0]) + 0.7], box.up);
  const curve = (values) => values.slice(0, shown).map((v, i) => [X(i), axis.at(v)]);
  const gain = scale([0, 1], [box.bottom, box.top + 12]);
  const hill = response.slice(0, shown).map((r, i) => [X(i), gain(r)]);
  draw(drawing, wide, box.bottom + 26, [
    text(box.left, 14, "Power by direction of Ψ"),
    area(`ux-spread ux-${look}`, [...hill, [box.right, box.bottom], [box.left, box.bottom]]),
    ...rungs(axis.decades(), [box.across]),
    line(STYLE.real, curve(real)),
    line(look, curve(synthetic)),
    ...ends(box.bottom + 20, box.across, "← large λ", "direction", "small λ →"),
  ]);
  const ratio = sum(synthetic.slice(0, shown)) / sum(real.slice(0, shown));
  drawing.setAttribute("aria-label", `Power along the ${shown} largest eigenvectors of the real Ψ: `
    + `that of the ten images is ${format(ratio, 2)} times the real one.`);
}
