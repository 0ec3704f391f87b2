// A reader's own photograph: read, cut to a grey square and decomposed in the browser, which it does not leave.

import { moments, offsetsOf, startsOf } from "./algebra.js";
import { eigen, product, transposed } from "./matrices.js";
import { h } from "./parts.js";

const SIZE = 128; // pixels of the square, as the book's own photographs
const GREY = [0.2125, 0.7154, 0.0721]; // red, green, blue: the weights of skimage.color.rgb2gray

/** The model, but for values in `own`, which stay in the page: a kernel hears nothing of them. */
export const overlay = (model, own) => ({
  get: (name) => own[name] ?? model.get(name),
  set: (name, value) => model.set(name, value),
  save_changes: () => model.save_changes(),
  on: (event, listener) => model.on(event, listener),
  off: (event, listener) => model.off(event, listener),
});

/** The middle square of a picture as grey bytes, SIZE × SIZE; what is transparent is white. */
async function greySquare(file) {
  const image = await createImageBitmap(file);
  const side = Math.min(image.width, image.height);
  const context = h("canvas", { width: SIZE, height: SIZE }).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, SIZE, SIZE);
  context.drawImage(image, (image.width - side) / 2, (image.height - side) / 2, side, side, 0, 0, SIZE, SIZE);
  const { data } = context.getImageData(0, 0, SIZE, SIZE);
  const grey = (_, i) => Math.round(GREY.reduce((total, weight, k) => total + weight * data[4 * i + k], 0));
  return Uint8Array.from({ length: SIZE * SIZE }, grey);
}

/**
 * Eigenvalues, and the state of a picture that `decompose` takes, of grey bytes (size × size): the centred Ψ of its
 * side × side patches, half a side apart. The same as unidd.book.pictures.packed.
 */
export function pictureState(pixels, size, side) {
  const [d, square] = [side * side, { size, side, stride: side / 2, pixels }];
  const { mean, std } = moments(pixels);
  if (!(std > 0)) throw new Error("it is of one grey, with no contrast to filter.");
  const [starts, offsets] = [startsOf(square), offsetsOf(square)];
  const rows = new Float64Array(starts.length * d);
  starts.forEach((start, n) => offsets.forEach((at, k) => { rows[n * d + k] = (pixels[start + at] - mean) / std; }));
  const centre = new Float64Array(d);
  rows.forEach((v, i) => { centre[i % d] += v / starts.length; });
  const X = rows.map((v, i) => v - centre[i % d]);
  const ffc = product(transposed(X, starts.length, d), X, d, starts.length, d).map((v) => v / starts.length);
  const { values, U } = eigen(ffc, d);
  const order = Array.from(values, (_, i) => i).sort((a, b) => values[b] - values[a]);
  const basis = Float64Array.from({ length: d * d }, (_, at) => U[(at % d) * d + order[Math.floor(at / d)]]);
  return { picture: { ...square, basis }, eigenvalues: order.map((i) => Math.max(0, values[i])) };
}

const PROMISE = "It stays in your browser.";

/** A file in words, and the `pictureState` of the picture in it, if there is one. */
async function pictureIn(file, side) {
  try {
    return { words: `${file.name}: its middle square, grey. ${PROMISE}`,
      found: pictureState(await greySquare(file), SIZE, side) };
  } catch (error) {
    const reason = error.name === "InvalidStateError" ? "the browser can read no picture in it." : error.message;
    return { words: `${file.name}: ${reason}` };
  }
}

/**
 * What takes a reader's photograph: a button, and the whole explorer `el` to drop it on. `side` is that of a patch;
 * `show` gets its `pictureState`, or null for the picture that the explorer came with.
 */
export function photographTool(el, side, show) {
  const input = h("input", { type: "file", accept: "image/*" });
  const said = h("span", { class: "ux-soft", role: "status" }, `Or drop one here. ${PROMISE}`);
  const take = async (file) => {
    if (!file) return;
    const { words, found } = await pictureIn(file, side);
    said.textContent = words;
    if (found) show(found);
  };
  const clear = () => { input.value = ""; said.textContent = `Or drop one here. ${PROMISE}`; show(null); };
  input.addEventListener("change", () => take(input.files[0]));
  const hover = (on) => (event) => { event.preventDefault(); el.classList.toggle("ux-over", on); };
  el.addEventListener("dragover", hover(true));
  el.addEventListener("dragleave", hover(false));
  el.addEventListener("drop", (event) => { hover(false)(event); take(event.dataTransfer.files[0]); });
  return { nodes: [h("label", { class: "ux-file" }, input, "Your own photograph"), said], clear };
}
