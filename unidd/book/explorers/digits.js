// Ten digits distilled in the page: images, the spectrum they have, and the accuracy of two learners, as it goes on.

import { bytes, responses, sum } from "./algebra.js";
import {
  adamStep, beginRun, headAccuracy, nearestAccuracy, ofFilter, realHead, realSide, ridgeAccuracy, unpackDigits,
} from "./distilling.js";
import {
  STYLE, captioned, change, chart, draw, ends, format, frame, h, line, logAxis, mount, percent, readout, rule, rungs,
  sample, scale, select, setter, slider, text, ticks,
} from "./parts.js";

const WHOLE = 300;
const SETTINGS = ["features", "filter", "beta", "steps", "start"];
const JUMP = 30; // steps at once, for who prefers less motion
const OWN = STYLE.one;
const OTHER = STYLE.other;
const SHAPE = "landweber";
const FEATURES = [["pixels", "pixels"], ["relu", "256 random ReLU features"]];
const ZOO = [["allpass", "all-pass, f = 1 (DM)"], ["linear", "linear, f = λ (DC)"],
  ["ridge", "ridge, f = 1/(λ+β) (KIP, CFM)"], ["landweber", "t steps of descent (MTT)"]];
const GUESSES = [["as much", "about as much"], ["less", "less"], ["lose", "nothing, or it loses"]];

export function renderDigits({ model, el }) {
  const run = new Distillation(model);
  const play = runControl(run, () => shown.redraw());
  const controls = settingControls(model);
  const guess = guessControl(model);
  const images = tenImages(run.data.classes);
  const [accuracy, spectrum, verdict] = [chart(), chart(), h("p", { class: "ux-note" })];
  const table = readout("Test accuracy on 360 real digits", ["Learner", "10 real", "10 distilled", "all 1,437"]);
  const done = readout("Settings you have seen to the end", ["Features, filter", "its own", "nearest neighbour"]);
  const legend = [[OWN, "its own learner, ridge"], [OTHER, "nearest neighbour"]]
    .map(([style, words]) => h("span", {}, sample(style), words));
  const curves = [[STYLE.real, "real side Ψ"], [OWN, "Ψₛ of the ten"], [SHAPE, "|f|, of its largest"]]
    .map(([style, words]) => h("span", {}, sample(style), words));
  const kept = new Map();

  function update(width) {
    const { state, history, full } = run.now();
    const [first, last] = [history[0], history[history.length - 1]];
    controls.update();
    guess.update(state.t > 0);
    play.update();
    images.draw(state.x, state.t);
    drawAccuracy(accuracy, history, full, width);
    drawSpectrum(spectrum, { ...directionPowers(state), response: relativeGains(model, state.real) }, width);
    table.set([["own", OWN, "ridge"], ["other", OTHER, "nearest neighbour"]].map(([side, style, name]) =>
      [[sample(style), name], ...[first, last, full].map((found) => percent(found[side]))]));
    if (run.over) kept.set(run.name, [percent(last.own), percent(last.other)]);
    done.node.hidden = kept.size < 2;
    done.set([...kept].map(([name, cells]) => [name, ...cells]));
    const words = verdictOf(state.t, first, last, model.get("guess"));
    verdict.textContent = words;
    return play.playing() ? "" : words;
  }

  const [left, right] = [[accuracy, legend], [spectrum, curves]]
    .map(([node, keys]) => h("div", {}, node, h("div", { class: "ux-caption" }, ...keys)));
  const shown = mount({ model, el }, [...SETTINGS, "guess"], [
    controls.node, guess.node, play.node, images.node, verdict, h("div", { class: "ux-pair" }, left, right),
    table.node, done.node], update);
  return () => { play.stop(); shown(); };
}

// ---- the distillation that is shown

/** The distillation of the settings that the model has; other settings begin another one. */
class Distillation {
  constructor(model) {
    this.model = model;
    this.data = unpackDigits(model.get("data"));
    this.layers = new Map();
  }

  get settings() {
    return Object.fromEntries(SETTINGS.map((name) => [name, this.model.get(name)]));
  }

  /** Features, filter and its number, in a few words. */
  get name() {
    const { features, filter, beta, steps } = this.settings;
    return `${features}, ${filter}${{ ridge: `, β ${format(beta, 2)}`, landweber: `, t = ${steps}` }[filter] ?? ""}`;
  }

  get over() {
    return this.now().state.t >= WHOLE;
  }

  of(kind) {
    if (!this.layers.has(kind)) {
      const { basis, eigenvalues } = this.model.get("spectra")[kind];
      const directions = new Float32Array(bytes(basis).buffer);
      this.layers.set(kind,
        { ...realSide(this.data, kind), basis: directions, eigenvalues, largest: eigenvalues[0] });
    }
    return this.layers.get(kind);
  }

  restart() {
    const { features, filter, beta, start } = this.settings;
    const real = this.of(features);
    this.beta = (filter === "ridge" ? beta : 0.1) * real.average; // of its own learner
    this.state = beginRun(real, this.settings, start);
    this.history = [this.measured()];
    const head = realHead(real, "ridge", { beta: this.beta });
    this.full = { own: headAccuracy(real, head, this.data.yTest), other: this.model.get("nearest") };
    this.key = JSON.stringify(this.settings);
  }

  measured() {
    const { real, x, Y, labels, t } = this.state;
    return { t, own: ridgeAccuracy(real, this.beta, x, Y), other: nearestAccuracy(this.data, x, labels) };
  }

  /** State, accuracies at every step seen, and those of all real images. */
  now() {
    if (JSON.stringify(this.settings) !== this.key) this.restart();
    return { state: this.state, history: this.history, full: this.full };
  }

  advance(n) {
    const { state } = this.now();
    for (let i = 0; i < n && state.t < WHOLE; i++) adamStep(state);
    this.history.push(this.measured());
  }

  /** Other real digits to start from. */
  redraw() {
    const { y, classes } = this.data;
    const drawn = (numbers) => numbers[Math.floor(Math.random() * numbers.length)];
    const ofClass = (k) => y.flatMap((label, i) => (label === k ? [i] : []));
    change(this.model, { start: Array.from({ length: classes }, (_, k) => drawn(ofClass(k))) });
  }
}

/** Power of the real and the synthetic features along the eigenvectors of Ψ: λᵢ, and uᵢᵀΨₛuᵢ. */
function directionPowers({ real, x }) {
  const { basis, eigenvalues, d } = real;
  const { X } = real.of(x);
  const m = X.length / d;
  const synthetic = eigenvalues.map((_, i) => {
    let power = 0;
    for (let k = 0; k < m; k++) {
      let along = 0;
      for (let j = 0; j < d; j++) along += X[k * d + j] * basis[i * d + j];
      power += along ** 2 / m;
    }
    return power;
  });
  return { real: eigenvalues, synthetic };
}

/** |f(λᵢ)|, of the largest. */
function relativeGains(model, real) {
  const filter = model.get("filter");
  const p = ofFilter({ filter, beta: model.get("beta"), steps: model.get("steps") }, real);
  const gains = real.eigenvalues.map((lam) => Math.abs(responses[filter](lam, p)));
  const top = Math.max(...gains);
  return gains.map((gain) => gain / top);
}

// ---- controls

/** Features and filter in a row, and the one slider that the filter has. */
function settingControls(model) {
  const features = select("Features", FEATURES, setter(model, "features"));
  const filter = select("Filter", ZOO, setter(model, "filter"));
  const beta = slider("β, in mean eigenvalues", {
    min: -3, max: 1, step: 0.25, hint: "small: all frequencies are matched; large: the low ones",
    show: () => format(model.get("beta"), 2),
  }, (v) => change(model, { beta: 10 ** v }));
  const steps = slider("t, steps of the learner", {
    min: 0, max: 9, step: 1, hint: "few: the low frequencies are matched", show: () => String(model.get("steps")),
  }, (v) => change(model, { steps: 2 ** v }));
  const node = h("div", { class: "ux-row" }, features.node, filter.node, beta.node, steps.node);
  const update = () => {
    features.set(model.get("features"));
    filter.set(model.get("filter"));
    beta.set(Math.log10(model.get("beta")));
    steps.set(Math.log2(model.get("steps")));
    beta.node.hidden = model.get("filter") !== "ridge";
    steps.node.hidden = model.get("filter") !== "landweber";
  };
  return { node, update };
}

/** What the reader expects, asked before it is seen. */
function guessControl(model) {
  const name = `ux-guess-${Math.random().toString(36).slice(2)}`;
  const boxes = GUESSES.map(([value]) => {
    const box = h("input", { type: "radio", name, value });
    box.addEventListener("change", () => change(model, { guess: value }));
    return box;
  });
  const node = h("fieldset", { class: "ux-chips ux-guess" },
    h("legend", {}, "Guess first: its own learner will gain. Another learner, given the same ten images, gains …"),
    ...GUESSES.map(([, words], i) => h("label", { class: "ux-chip ux-ridge" }, boxes[i], words)));
  const update = (begun) => boxes.forEach((box) => {
    box.checked = box.value === model.get("guess");
    box.disabled = begun;
  });
  return { node, update };
}

/** The buttons. It plays only when asked to, a step a frame; for who prefers less motion, in jumps of many steps. */
function runControl(run, redraw) {
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const [go, again, other] = ["", "Start again", "Other digits"].map((label) => h("button", { type: "button" }, label));
  const count = h("output", { class: "ux-count" });
  let asked = null;
  const playing = () => asked !== null;
  const stop = () => { cancelAnimationFrame(asked); asked = null; };
  const frame = () => {
    run.advance(1);
    asked = run.over ? null : requestAnimationFrame(frame);
    redraw();
  };
  go.addEventListener("click", () => {
    if (playing()) stop();
    else {
      if (run.over) run.restart();
      if (still.matches) run.advance(JUMP);
      else asked = requestAnimationFrame(frame);
    }
    redraw();
  });
  again.addEventListener("click", () => { stop(); run.restart(); redraw(); });
  other.addEventListener("click", () => { stop(); run.redraw(); });
  const update = () => {
    const { t } = run.now().state;
    go.textContent = playing() ? "Pause" : still.matches ? `${JUMP} steps` : t ? "Play on" : "Play";
    if (!playing() && run.over) go.textContent = "Play again";
    count.textContent = `step ${t} of ${WHOLE}`;
  };
  return { node: h("div", { class: "ux-row ux-play" }, go, again, other, count), playing, stop, update };
}

// ---- what is seen

/** The images, a canvas each, in a row. */
function tenImages(n) {
  const canvases = Array.from({ length: n }, (_, k) =>
    h("canvas", { width: 8, height: 8, class: "ux-pixels", role: "img", "aria-label": `image of a ${k}` }));
  const caption = h("span");
  const node = captioned(h("div", { class: "ux-ten" }, ...canvases), caption);
  const drawn = (x, t) => {
    canvases.forEach((canvas, k) => {
      const context = canvas.getContext("2d");
      const image = context.createImageData(8, 8);
      for (let i = 0; i < 64; i++) {
        const value = 255 * (1 - x[k * 64 + i]);
        image.data.set([value, value, value, 255], 4 * i);
      }
      context.putImageData(image, 0, 0);
    });
    caption.textContent = t ? `the ten images after ${t} steps` : "the ten images at the start: real digits";
  };
  return { node, draw: drawn };
}

/** Accuracy of both learners by step, and as dotted levels what all real images give. */
function drawAccuracy(drawing, history, full, width) {
  const wide = width > 620 ? width / 2 - 10 : width;
  const box = frame(wide, { left: 50, top: 26, least: 150, most: 190, share: 0.5 });
  const least = Math.min(0.4, ...history.flatMap(({ own, other }) => [own, other]));
  const low = Math.floor(10 * least) / 10;
  const [X, Y] = [scale([0, WHOLE], box.across), scale([low, 1.06], box.up)];
  const levels = [1, 0.8, 0.6, 0.4, 0.2, 0].filter((v) => v >= low);
  const sides = [["own", OWN], ["other", OTHER]];
  draw(drawing, wide, box.bottom + 38, [
    text(box.left, 14, "Test accuracy"),
    ...rungs(levels.map((v) => [Y(v), `${Math.round(100 * v)} %`]), [box.across]),
    ...sides.map(([side, style]) => rule(`cut ux-${style}`, Y(full[side]).toFixed(1), box.across)),
    text(box.right, Y(Math.max(full.own, full.other)) - 5, "all 1,437 images",
      { "text-anchor": "end", class: "ux-soft" }),
    ...sides.map(([side, style]) => line(style, history.map((found) => [X(found.t), Y(found[side])]))),
    ...ticks([0, 100, 200, 300].map((t) => [X(t), String(t)]), box.bottom),
    ...ends(box.bottom + 34, box.across, "", "step", ""),
  ]);
  const last = history[history.length - 1];
  drawing.setAttribute("aria-label", `Test accuracy by step. At step ${last.t} the images' own learner has `
    + `${percent(last.own)}, of ${percent(full.own)} with all, and the nearest neighbour ${percent(last.other)}.`);
}

/** Power along the eigenvectors of Ψ, real and synthetic, and the filter's response. */
function drawSpectrum(drawing, { real, synthetic, response }, width) {
  const wide = width > 620 ? width / 2 - 10 : width;
  const box = frame(wide, { left: 50, top: 26, least: 150, most: 190, share: 0.5 });
  const shown = real.filter((lam) => lam > real[0] * 1e-4).length;
  const X = scale([0, shown - 1], box.across);
  const axis = logAxis([Math.log10(real[0]) - 4, Math.log10(real[0]) + 0.7], box.up);
  const curve = (values) => values.slice(0, shown).map((v, i) => [X(i), axis.at(v)]);
  const gain = scale([0, 1], [box.bottom, box.top + 12]);
  draw(drawing, wide, box.bottom + 38, [
    text(box.left, 14, "Power by direction of Ψ"),
    ...rungs(axis.decades().map(([y, label]) => [y, label]), [box.across]),
    line(STYLE.real, curve(real)),
    line(SHAPE, response.slice(0, shown).map((r, i) => [X(i), gain(r)])),
    line(OWN, curve(synthetic)),
    ...ends(box.bottom + 20, box.across, "← coarse", "direction", "fine →"),
  ]);
  const ratio = sum(synthetic.slice(0, shown)) / sum(real.slice(0, shown));
  drawing.setAttribute("aria-label", `Power along the ${shown} largest eigenvectors of the real Ψ: `
    + `that of the ten images is ${format(ratio, 2)} times the real one.`);
}

/** What came out, and whether the reader expected it. */
function verdictOf(t, first, last, guess) {
  if (t === 0) return "Ten real digits, one a class, drawn at random. Press Play to distill into them what 1,437 say.";
  const change = `After ${t} steps the ten images bring their own learner from ${percent(first.own)} to `
    + `${percent(last.own)}, and the nearest neighbour from ${percent(first.other)} to ${percent(last.other)}.`;
  if (t < WHOLE || !guess) return change;
  const [own, other] = [last.own - first.own, last.other - first.other];
  const came = other <= 0 ? "lose" : other >= 0.75 * own ? "as much" : "less";
  return `${change} ${came === guess ? "As you expected." : "Not what you expected."}`;
}
