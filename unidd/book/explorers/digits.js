// Ten digits distilled in the page: images, the spectrum they have, and the accuracy of two learners, as it goes on.

import { bytes, responses } from "./algebra.js";
import { LEARNERS, WHOLE, digitCharts, tenImages } from "./digitcharts.js";
import {
  adamStep, beginRun, headAccuracy, nearestAccuracy, ofFilter, realHead, realSide, responseOf, ridgeAccuracy,
  unpackDigits,
} from "./distilling.js";
import { numeric, oneOf, whole, wholes } from "./links.js";
import { change, deck, mount, setter } from "./page.js";
import { format, h, percent, readout, sample, select, slider } from "./parts.js";

const SETTINGS = ["features", "filter", "beta", "steps", "start"];
const JUMP = 30; // steps at once, for who prefers less motion
const FEATURES = [["pixels", "pixels"], ["relu", "256 random ReLU features"]];
const ZOO = [["allpass", "all-pass, f = 1 (DM)"], ["linear", "linear, f = λ (DC)"],
  ["ridge", "ridge, f = 1/(λ+β) (CFM)"], ["krr", "ridge, scored on the real digits (KIP)"],
  ["landweber", "t steps of descent (MTT)"]];
const GUESSES = [["as much", "about as much"], ["less", "less"], ["lose", "nothing, or it loses"]];

export function renderDigits({ model, el }) {
  const run = new Distillation(model);
  const play = runControl(run, () => shown.redraw());
  const [controls, guess] = [settingControls(model), guessControl(model)];
  const [images, charts, verdict] = [tenImages(run.data.classes), digitCharts(), h("p", { class: "ux-note" })];
  const table = readout("Test accuracy on 360 real digits", ["Learner", "10 real", "10 distilled", "all 1,437"]);
  const done = readout("Settings you have seen to the end", ["Features, filter", "its own", "nearest neighbour"]);
  const kept = new Map();

  function update(width) {
    const { state, history, full } = run.now();
    const [first, last] = [history[0], history[history.length - 1]];
    controls.update();
    guess.update(state.t > 0);
    play.update();
    images.draw(state.x, state.t);
    const powers = { ...directionPowers(state), response: relativeGains(model, state.real) };
    charts.update(history, full, powers, responseOf(model.get("filter")), width);
    table.set(LEARNERS.map(([side, style, name]) =>
      [[sample(style), name], ...[first, last, full].map((found) => percent(found[side]))]));
    if (run.over) kept.set(run.name, [percent(last.own), percent(last.other)]);
    done.node.hidden = kept.size < 2;
    done.set([...kept].map(([name, cells]) => [name, ...cells]));
    const words = verdictOf(state.t, first, last, model.get("guess"));
    verdict.textContent = words;
    return play.playing() ? "" : words;
  }

  const reset = () => { play.stop(); kept.clear(); change(model, { guess: "" }); run.restart(); };
  const shown = mount({ model, el }, fieldsOfDigits(run.data), [
    deck({ l1: [controls.node, guess.node], r1: [play.node, images.node, verdict] }),
    charts.node, table.node, done.node,
  ], update, { reset });
  return () => { play.stop(); shown(); };
}

/** What a link may say. A guess is the reader's own. */
const fieldsOfDigits = ({ y, classes }) => ({
  features: oneOf(FEATURES.map(([kind]) => kind)), filter: oneOf(ZOO.map(([name]) => name)), beta: numeric(1e-3, 10),
  steps: whole(1, 512), start: wholes(classes, 0, y.length - 1), guess: null,
});

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
    return `${features}, ${filter}${
      filter === "landweber" ? `, t = ${steps}` : usesBeta(filter) ? `, β ${format(beta, 2)}` : ""}`;
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
    this.beta = (usesBeta(filter) ? beta : 0.1) * real.average; // of its own learner
    this.state = beginRun(real, this.settings, start);
    this.history = [this.measured()];
    // of a ridge filter, its goal is what its own learner would know of all
    const head = usesBeta(filter) ? this.state.goal.head : realHead(real, "ridge", { beta: this.beta });
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
  const gains = real.eigenvalues.map((lam) => Math.abs(responses[responseOf(filter)](lam, p)));
  const top = Math.max(...gains);
  return gains.map((gain) => gain / top);
}

// ---- controls

const usesBeta = (filter) => responseOf(filter) === "ridge";

/** Features and filter in a row, and the one slider that the filter has. */
function settingControls(model) {
  const features = select("Features", FEATURES, setter(model, "features"));
  const filter = select("Filter", ZOO, setter(model, "filter"));
  const beta = slider("β, in mean eigenvalues", {
    min: -3, max: 1, step: 0.25, hint: "small: the small eigenvalues weigh most; large: all alike",
    show: () => format(model.get("beta"), 2),
  }, (v) => change(model, { beta: 10 ** v }));
  const steps = slider("t, steps of the learner", {
    min: 0, max: 9, step: 1, hint: "few: the low frequencies are matched", show: () => String(model.get("steps")),
  }, (v) => change(model, { steps: 2 ** v }));
  const node = h("div", { class: "ux-settings" }, features.node, filter.node, beta.node, steps.node);
  const update = () => {
    features.set(model.get("features"));
    filter.set(model.get("filter"));
    beta.set(Math.log10(model.get("beta")));
    steps.set(Math.log2(model.get("steps")));
    beta.node.hidden = !usesBeta(model.get("filter"));
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
    h("legend", {}, "Guess first: what will another learner gain from the ten?"),
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
  const onFrame = () => {
    run.advance(1);
    asked = run.over ? null : requestAnimationFrame(onFrame);
    redraw();
  };
  go.addEventListener("click", () => {
    if (playing()) stop();
    else {
      if (run.over) run.restart();
      if (still.matches) run.advance(JUMP);
      else asked = requestAnimationFrame(onFrame);
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

// ---- in words

const guessInWords = (value) => GUESSES.find(([one]) => one === value)[1];

/** What came out, beside what the reader expected. */
function verdictOf(t, first, last, guess) {
  if (t === 0) {
    const next = guess ? `You guess: ${guessInWords(guess)}. Play` : "Guess, then play";
    return `Ten real digits, one a class, drawn at random. ${next} to distill into them what 1,437 say.`;
  }
  const change = `After ${t} steps the ten images bring their own learner from ${percent(first.own)} to `
    + `${percent(last.own)}, and the nearest neighbour from ${percent(first.other)} to ${percent(last.other)}.`;
  if (t < WHOLE || !guess) return change;
  const [own, other] = [last.own - first.own, last.other - first.other];
  const came = other <= 0 ? "lose" : other >= 0.75 * own ? "as much" : "less";
  const answer = came === guess ? "as you expected" : `you expected: ${guessInWords(guess)}`;
  return `${change} The other learner gained: ${guessInWords(came)}; ${answer}.`;
}
