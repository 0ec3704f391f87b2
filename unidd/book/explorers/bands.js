// Keep or drop a band of eigendirections of a photograph's patches.

import { bandWeights, combine, decompose, stretched, sum } from "./algebra.js";
import { flag, oneOf, whole } from "./links.js";
import { deck, mount, rightOf, setter } from "./page.js";
import {
  STYLE, captioned, centred, chart, draw, ends, frame, h, line, logAxis, percent, picture, readout, rule, rungs, sample,
  select, slider, text, toggle,
} from "./parts.js";
import { overlay, photographTool } from "./photos.js";

export function renderBand({ model, el }) {
  const [own, d] = [{}, model.get("eigenvalues").length];
  const seen = overlay(model, own);
  const controls = bandControls(model, d);
  const pictures = bandPictures(d);
  const drawing = chart();
  const table = readout("Share of the band, and of what the picture is made of", ["", "Band", "Picture"]);
  const shares = () => [["variance", STYLE.one, shareOf(seen.get("eigenvalues"))],
    ...(seen.get("signal").length ? [["class signal", STYLE.other, seen.get("signal")]] : [])];
  let photo;

  function update(width) {
    photo ??= pictures.begin(decompose(seen.get("picture")));
    const [low, high] = [model.get("first"), model.get("last")].sort((a, b) => a - b);
    const [mode, stretch, shown] = [model.get("mode"), model.get("stretch"), shares()];
    const weights = bandWeights(d, low, high, mode);
    controls.update();
    pictures.update(low, high, mode, bandPicture(photo, weights, stretch));
    const inside = (values) => percent(sum(values.slice(low - 1, high)));
    const made = (values) => percent(sum(values.filter((_, i) => weights[i])));
    table.set([["directions", `${high - low + 1} of ${d}`, `${sum(weights)} of ${d}`],
      ...shown.map(([name, style, values]) => [[sample(style), name], inside(values), made(values)])]);
    drawShares(drawing, shown, low, high, width);
    const held = shown.map(([name, , values]) => `${inside(values)} of the ${name}`).join(" and ");
    const sentence = `Directions ${low} to ${high} of ${d} hold ${held}; the picture ${
      mode === "keep" ? "shows them alone" : "shows all others"}.`;
    drawing.setAttribute("aria-label", `Share of each eigendirection. ${sentence}`);
    return sentence;
  }

  const photograph = photographTool(el, model.get("picture").side, (found) => {
    // what the classes say of a reader's photograph is not known
    Object.assign(own, found ? { ...found, signal: [] } : { picture: null, eigenvalues: null, signal: null });
    photo = null;
    shown.redraw();
  });
  const fields = { first: whole(1, d), last: whole(1, d), mode: oneOf(MODES.map(([mode]) => mode)), stretch: flag };
  const shown = mount({ model, el }, fields,
    [deck({ r1: pictures.node, l1: controls.node, r2: drawing, l2: table.node })], update,
    { tools: photograph.nodes, reset: photograph.clear });
  return shown;
}

const MODES = [["keep", "keep it, drop the rest"], ["drop", "drop it, keep the rest"]];
const shareOf = (values) => values.map((value) => value / sum(values));

/** The ends of the band, what becomes of it, and the contrast of the result. */
function bandControls(model, d) {
  const direction = (label, name) => slider(label, {
    min: 1, max: d, step: 1, hint: "directions are counted from the largest eigenvalue, the coarsest structure",
    show: () => String(model.get(name)),
  }, setter(model, name));
  const controls = {
    first: direction("First direction", "first"),
    last: direction("Last direction", "last"),
    mode: select("Band", MODES, setter(model, "mode")),
    stretch: toggle("Stretch contrast", "gives the result the photograph's own contrast", setter(model, "stretch")),
  };
  const { first, last, mode, stretch } = controls;
  const node = h("div", { class: "ux-sliders" }, first.node, last.node,
    h("div", { class: "ux-row" }, mode.node, stretch.node));
  const update = () => Object.entries(controls).forEach(([name, control]) => control.set(model.get(name)));
  return { node, update };
}

/** The photograph, what the band makes of it, and the eigenvectors; `begin` takes a photograph, `update` a band. */
function bandPictures(d) {
  const node = h("div", { class: "ux-pictures" });
  const caption = h("span");
  let [after, vectors] = [null, null];
  const begin = (photo) => {
    const before = picture(photo.size, "The photograph", "photograph");
    before.draw(photo.grey, "The photograph, all directions");
    after = picture(photo.size, "The photograph, some directions", caption);
    vectors = eigenvectors(photo, d);
    node.replaceChildren(before.node, after.node, captioned(vectors.node, "eigendirections, the band bright"));
    return photo;
  };
  const update = (low, high, mode, values) => {
    const kept = mode === "keep" ? "only directions" : "without directions";
    caption.textContent = `${kept} ${low} … ${high}`;
    after.draw(values, `The photograph, ${kept} ${low} to ${high} of ${d}`);
    vectors.update(low, high);
  };
  return { node, begin, update };
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
  const image = context.createImageData(width, height);
  const corner = (i) => Math.floor(i / across) * step * width + (i % across) * step;
  const places = Array.from({ length: side * side }, (_, k) => Math.floor(k / side) * width + (k % side));
  for (let i = 0; i < d; i++) {
    const u = directions.subarray(i * d, (i + 1) * d);
    const top = Math.max(...u.map(Math.abs));
    places.forEach((at, k) => {
      const first = 4 * (corner(i) + at);
      image.data.fill(127.5 * (1 + u[k] / top), first, first + 3);
    });
  }
  const update = (low, high) => {
    for (let i = 0; i < d; i++) {
      const alpha = i + 1 >= low && i + 1 <= high ? 255 : 80;
      for (const at of places) image.data[4 * (corner(i) + at) + 3] = alpha;
    }
    context.putImageData(image, 0, 0);
    canvas.setAttribute("aria-label",
      `The ${d} eigenvectors as pictures, from coarse to fine; ${low} to ${high} stand out`);
  };
  return { node: canvas, update };
}

/** Share of each direction in the variance and in the class signal, on a logarithmic axis, the band shaded. */
function drawShares(drawing, shares, low, high, room) {
  const width = rightOf(room);
  const box = frame(width, { least: 120, most: 170, share: 0.3 });
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
