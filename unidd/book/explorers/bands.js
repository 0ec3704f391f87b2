// Keep or drop a band of eigendirections of a photograph's patches.

import { bandWeights, combine, decompose, stretched, sum } from "./algebra.js";
import {
  STYLE, captioned, centred, chart, draw, ends, frame, h, line, logAxis, mount, percent, picture, readout, rule, rungs,
  sample, select, setter, slider, text, toggle,
} from "./parts.js";

export function renderBand({ model, el }) {
  const photo = decompose(model.get("picture"));
  const eigenvalues = model.get("eigenvalues");
  const variance = eigenvalues.map((value) => value / sum(eigenvalues));
  const signal = model.get("signal");
  const shares = [["variance", STYLE.one, variance], ...(signal.length ? [["class signal", STYLE.other, signal]] : [])];
  const d = eigenvalues.length;
  const controls = bandControls(model, d);
  const pictures = bandPictures(photo, d);
  const drawing = chart();
  const table = readout("Share of the band, and of what the right picture is made of", ["", "Band", "Picture"]);

  function update(width) {
    const [low, high] = [model.get("first"), model.get("last")].sort((a, b) => a - b);
    const [mode, stretch] = [model.get("mode"), model.get("stretch")];
    const weights = bandWeights(d, low, high, mode);
    controls.update();
    pictures.update(low, high, mode, bandPicture(photo, weights, stretch));
    const inside = (values) => percent(sum(values.slice(low - 1, high)));
    const made = (values) => percent(sum(values.filter((_, i) => weights[i])));
    table.set([["directions", `${high - low + 1} of ${d}`, `${sum(weights)} of ${d}`],
      ...shares.map(([name, style, values]) => [[sample(style), name], inside(values), made(values)])]);
    drawShares(drawing, shares, low, high, width);
    const held = shares.map(([name, , values]) => `${inside(values)} of the ${name}`).join(" and ");
    const sentence = `Directions ${low} to ${high} of ${d} hold ${held}; the picture ${
      mode === "keep" ? "shows them alone" : "shows all others"}.`;
    drawing.setAttribute("aria-label", `Share of each eigendirection. ${sentence}`);
    return sentence;
  }

  return mount({ model, el }, ["first", "last", "mode", "stretch"],
    [pictures.node, controls.node, drawing, table.node], update);
}

/** The ends of the band, what becomes of it, and the contrast of the result. */
function bandControls(model, d) {
  const direction = (label, name) => slider(label, {
    min: 1, max: d, step: 1, hint: "directions are counted from the largest eigenvalue, the coarsest structure",
    show: () => String(model.get(name)),
  }, setter(model, name));
  const controls = {
    first: direction("First direction", "first"),
    last: direction("Last direction", "last"),
    mode: select("Band", [["keep", "keep it, drop the rest"], ["drop", "drop it, keep the rest"]],
      setter(model, "mode")),
    stretch: toggle("Stretch contrast", "gives the result the photograph's own contrast", setter(model, "stretch")),
  };
  const { first, last, mode, stretch } = controls;
  const node = h("div", { class: "ux-sliders" }, first.node, last.node,
    h("div", { class: "ux-row" }, mode.node, stretch.node));
  const update = () => Object.entries(controls).forEach(([name, control]) => control.set(model.get(name)));
  return { node, update };
}

/** The photograph, what the band makes of it, and the eigenvectors. */
function bandPictures(photo, d) {
  const before = picture(photo.size, "The photograph", "photograph");
  before.draw((i) => photo.grey[i], "The photograph, all directions");
  const caption = h("span");
  const after = picture(photo.size, "The photograph, some directions", caption);
  const vectors = eigenvectors(photo, d);
  const node = h("div", { class: "ux-pictures ux-large" }, before.node, after.node,
    captioned(vectors.node, "eigendirections, the band bright"));
  const update = (low, high, mode, values) => {
    const kept = mode === "keep" ? "only directions" : "without directions";
    caption.textContent = `${kept} ${low} … ${high}`;
    after.draw((i) => values[i], `The photograph, ${kept} ${low} to ${high} of ${d}`);
    vectors.update(low, high);
  };
  return { node, update };
}

/** Grey values of the photograph with its directions weighed; parts without its mean grey keep that grey. */
export function bandPicture(photo, weights, stretch) {
  const values = combine(photo, weights);
  return (stretch ? stretched(values) : values).map((v) => photo.mean + photo.std * v);
}

/** All eigenvectors as small pictures, row by row from the largest eigenvalue; those outside the band are pale. */
function eigenvectors({ side, directions }, d) {
  const across = Math.ceil(Math.sqrt(d));
  const step = side + 1;
  const [width, height] = [across * step - 1, Math.ceil(d / across) * step - 1];
  const canvas = h("canvas", { width, height, role: "img", class: "ux-pixels" });
  const context = canvas.getContext("2d");
  const tiles = Array.from({ length: d }, (_, i) => {
    const u = directions.subarray(i * d, (i + 1) * d);
    const top = Math.max(...u.map(Math.abs));
    return u.map((v) => 127.5 * (1 + v / top));
  });
  const image = context.createImageData(width, height);
  const update = (low, high) => {
    tiles.forEach((tile, i) => {
      const corner = Math.floor(i / across) * step * width + (i % across) * step;
      const alpha = i + 1 >= low && i + 1 <= high ? 255 : 80;
      const at = (k) => 4 * (corner + Math.floor(k / side) * width + (k % side));
      tile.forEach((v, k) => image.data.set([v, v, v, alpha], at(k)));
    });
    context.putImageData(image, 0, 0);
    canvas.setAttribute("aria-label",
      `The ${d} eigenvectors as pictures, from coarse to fine; ${low} to ${high} stand out`);
  };
  return { node: canvas, update };
}

/** Share of each direction in the variance and in the class signal, on a logarithmic axis, the band shaded. */
function drawShares(drawing, shares, low, high, width) {
  const box = frame(width, { least: 130, most: 190, share: 0.3 });
  const { bottom, across } = box;
  const logs = shares.flatMap(([, , values]) => values).filter((v) => v > 1e-7).map(Math.log10);
  const limits = [Math.min(...logs) - 0.2, Math.max(...logs) + 0.2];
  const axis = logAxis(limits, box.up);
  const d = shares[0][2].length;
  const slot = (across[1] - across[0]) / d;
  const X = (i) => across[0] + (i - 0.5) * slot;
  const named = shares.length === 1 ? "" : box.wide ? " and in the class signal" : ", class signal";
  const apart = (v, others) => others.every((other) => other === v || Math.abs(X(v) - X(other)) > 16);
  const numbers = [...new Set([1, low, high, d])];
  draw(drawing, width, bottom + 36, [
    h("svg:rect", { class: "ux-window", x: X(low) - slot / 2, y: box.top, width: (high - low + 1) * slot,
      height: bottom - box.top }),
    text(0, 12, `share of each direction in the variance${named}`),
    rule("zero", bottom, across),
    ...rungs(axis.decades(limits[1] - limits[0] > 4 ? 2 : 1), [across]),
    ...shares.map(([, style, values]) => line(`${style} ux-thin`, values.map((v, i) => [X(i + 1), axis.at(v)]))),
    ...numbers.filter((v, i) => apart(v, numbers.slice(i + 1))).map((v) => centred(X(v), bottom + 15, String(v))),
    ...ends(bottom + 32, across, "← coarse", "direction", "fine →"),
  ]);
}
