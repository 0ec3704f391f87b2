// Ten images distilled by a linear learner, exactly and in the page: the arithmetic of the explorer of digits.
// Rows of features X (m, d) against one-hot − 1/c targets Y (m, c): Ψ = XᵀX/m, Φ = XᵀY/m; loss
// ‖f(Ψ)Φ − f(Ψₛ)Φₛ‖² / ‖f(Ψ)Φ‖², or the error of f(Ψₛ)Φₛ on the real images ("krr"). As
// f(XᵀX/m)Xᵀ = Xᵀf(XXᵀ/m), the synthetic side needs a 10 × 10 matrix alone. Both sides are less the real mean.
// Matrices are flat Float64Arrays, row by row. unidd/book/linear.py is the same in PyTorch; tests compare the two.

import { bytes, responses } from "./algebra.js";
import { eigen, product, solve, transposed } from "./matrices.js";

// ---- the data

/** Real digits as the page has them: bytes of pixels in steps of 1/16, and labels, training images first. */
export function unpackDigits({ pixels, labels, train, classes, weights, width }) {
  const all = Float64Array.from(bytes(pixels), (v) => Math.round((v / 16) * 255) / 255);
  const pixelsOf = (from, to) => all.subarray(from * 64, to * 64);
  const number = labels.length;
  const [x, test] = [pixelsOf(0, train), pixelsOf(train, number)];
  const mean = new Float64Array(64);
  for (let i = 0; i < x.length; i++) mean[i % 64] += x[i] / train;
  const y = Array.from(labels, Number);
  const W = Float64Array.from(new Int8Array(bytes(weights).buffer), (v) => v / 192);
  return { x, test, y: y.slice(0, train), yTest: y.slice(train), classes, mean, W, width };
}

/** Targets (n, c): 1 for the label, less 1/c everywhere. */
export function targetsOf(labels, classes) {
  const out = new Float64Array(labels.length * classes).fill(-1 / classes);
  labels.forEach((k, i) => { out[i * classes + k] += 1; });
  return out;
}

/** Features before and after their own mean is taken off: centred pixels, or random ReLU features of them. */
const KINDS = {
  pixels: {
    width: () => 64,
    rows: ({ mean }, x) => ({ raw: x.map((v, i) => v - mean[i % 64]) }),
    back: (data, { }, gradient) => gradient,
  },
  relu: {
    width: ({ width }) => width,
    rows: ({ mean, W, width }, x) => {
      const before = product(x.map((v, i) => v - mean[i % 64]), W, x.length / 64, 64, width);
      return { raw: before.map((v) => Math.max(0, v)), before };
    },
    back: ({ W, width }, { before }, gradient) => {
      const passed = gradient.map((g, i) => (before[i] > 0 ? g : 0));
      return product(passed, transposed(W, 64, width), before.length / width, width, 64);
    },
  },
};

/** All that the real side gives: features, their mean, Ψ, Φ and the mean eigenvalue. */
export function realSide(data, kind) {
  const { rows, back, width } = KINDS[kind];
  const d = width(data);
  const found = rows(data, data.x).raw;
  const n = data.y.length;
  const mean = new Float64Array(d);
  for (let i = 0; i < found.length; i++) mean[i % d] += found[i] / n;
  const of = (x) => {
    const made = rows(data, x);
    return { ...made, X: made.raw.map((v, i) => v - mean[i % d]) };
  };
  const X = found.map((v, i) => v - mean[i % d]);
  const across = transposed(X, n, d);
  const ffc = product(across, X, d, n, d).map((v) => v / n);
  const flc = product(across, targetsOf(data.y, data.classes), d, n, data.classes).map((v) => v / n);
  let trace = 0;
  for (let i = 0; i < d; i++) trace += ffc[i * d + i];
  return { data, d, of, back: (made, g) => back(data, made, g), ffc, flc, average: trace / d, test: of(data.test).X };
}

// ---- filters

/** The response of a filter by its name here: "krr" is ridge, by another loss. */
export const responseOf = (filter) => (filter === "krr" ? "ridge" : filter);

/** Parameters of `responses`; β and 1/α are in units of the mean eigenvalue, the step of descent of the largest. */
export function ofFilter({ filter, beta, steps }, { average, largest }) {
  return filter === "landweber" ? { rate: 1 / largest, steps } : { beta: beta * average };
}

/** f(Ψ)Φ of the real side (d, c). */
export function realHead(real, filter, p) {
  const { ffc, flc, d, data: { classes } } = real;
  if (filter === "allpass") return flc;
  if (filter === "linear") return product(ffc, flc, d, d, classes);
  if (responseOf(filter) === "ridge") {
    const shifted = Float64Array.from(ffc);
    for (let i = 0; i < d; i++) shifted[i * d + i] += p.beta;
    return solve(shifted, flc, d, classes);
  }
  let head = new Float64Array(d * classes); // descent from 0 on the squared error
  for (let t = 0; t < p.steps; t++) {
    const pull = product(ffc, head, d, d, classes);
    head = head.map((v, i) => v + p.rate * (flc[i] - pull[i]));
  }
  return head;
}

/** f′(λ) by name; the same parameters as `responses`. */
const derivatives = {
  allpass: () => 0,
  linear: () => 1,
  ridge: (lam, p) => -1 / (lam + p.beta) ** 2,
  landweber: (lam, p) => {
    const [x, t] = [p.rate * lam, p.steps];
    if (x < 1e-6) return -0.5 * p.rate ** 2 * t * (t - 1);
    return (t * p.rate * (1 - x) ** (t - 1) - responses.landweber(lam, p)) / lam;
  },
};

// ---- the synthetic side

/** XXᵀ/m of rows (m, d). */
const gramOf = (X, m, d) => product(X, transposed(X, m, d), m, d, m).map((v) => v / m);

/** The loss of images x (m, 64), and its gradient by every pixel. */
export function lossAndGradient(real, goal, x, Y) {
  const { p } = goal;
  const { d, data: { classes } } = real;
  const m = x.length / 64;
  const made = real.of(x);
  const { values, U } = eigen(gramOf(made.X, m, d), m);
  const lam = values.map((v) => Math.max(0, v));
  const shape = responseOf(goal.filter);
  const f = Array.from(lam, (v) => responses[shape](v, p));
  const UT = transposed(U, m, m);
  const weighed = product(UT, Y, m, m, classes).map((v, i) => (v * f[Math.floor(i / classes)]) / m);
  const A = product(U, weighed, m, m, classes); // f(XXᵀ/m) Y/m
  const W = product(transposed(made.X, m, d), A, d, m, classes);
  const { loss, G } = goal.filter === "krr" ? realLoss(real, W) : headLoss(W, goal);
  const S = product(product(made.X, G, m, d, classes), transposed(Y, m, classes), m, classes, m);
  const even = S.map((v, i) => (v + S[(i % m) * m + Math.floor(i / m)]) / 2);
  const inner = product(product(UT, even, m, m, m), U, m, m, m);
  const divided = inner.map((v, i) => v * dividedSlope(shape, p, lam, f, Math.floor(i / m), i % m));
  const T = product(product(U, divided, m, m, m), UT, m, m, m);
  const [first, second] = [product(A, transposed(G, d, classes), m, classes, d), product(T, made.X, m, m, d)];
  const byFeature = first.map((v, i) => v + (2 * second[i]) / m ** 2);
  return { loss, gradient: real.back(made, byFeature) };
}

/** ‖W − W_real‖²/‖W_real‖² of heads (d, c), and its gradient by W. */
function headLoss(W, { head, power }) {
  const gap = W.map((v, i) => v - head[i]);
  return { loss: gap.reduce((t, v) => t + v * v, 0) / power, G: gap.map((v) => (2 * v) / power) };
}

/** tr(WᵀΨW) − 2 tr(WᵀΦ), the squared error of a head on all real images less a constant, and its gradient by W. */
function realLoss({ ffc, flc, d, data: { classes } }, W) {
  const pull = product(ffc, W, d, d, classes);
  return { loss: W.reduce((t, w, i) => t + w * (pull[i] - 2 * flc[i]), 0), G: pull.map((v, i) => 2 * (v - flc[i])) };
}

/** The divided difference of f at two eigenvalues, its derivative where they are as good as equal. */
function dividedSlope(filter, p, lam, f, i, j) {
  const apart = lam[i] - lam[j];
  if (Math.abs(apart) <= 1e-7 * (lam[i] + lam[j])) return derivatives[filter]((lam[i] + lam[j]) / 2, p);
  return (f[i] - f[j]) / apart;
}

// ---- learners

const argmax = (scores, at, n) => {
  let top = 0;
  for (let k = 1; k < n; k++) if (scores[at + k] > scores[at + top]) top = k;
  return top;
};

const correctShare = (labels, guess) => labels.filter((k, i) => guess(i) === k).length / labels.length;

/** Test accuracy of the ridge head (XᵀX/m + βI)⁻¹XᵀY/m (d, c) of some images: the learner they are made for. */
export function ridgeAccuracy(real, beta, x, Y) {
  const { d, data: { classes, yTest } } = real;
  const m = x.length / 64;
  const { X } = real.of(x);
  const K = gramOf(X, m, d).map((v, i) => v + (i % (m + 1) === 0 ? beta : 0));
  const head = product(transposed(X, m, d), solve(K, Y, m, classes), d, m, classes);
  return headAccuracy(real, head, yTest);
}

/** Test accuracy of a head (d, c). */
export function headAccuracy({ test, d, data: { classes } }, head, yTest) {
  const scores = product(test, head, yTest.length, d, classes);
  return correctShare(yTest, (i) => argmax(scores, i * classes, classes));
}

/** Test accuracy of the nearest of some images, by their pixels: a learner that they were not made for. */
export function nearestAccuracy({ test, yTest }, x, labels) {
  const guessOf = (i) => {
    let [least, found] = [Infinity, 0];
    for (let j = 0; j < labels.length; j++) {
      let distance = 0;
      for (let k = 0; k < 64 && distance < least; k++) distance += (test[i * 64 + k] - x[j * 64 + k]) ** 2;
      if (distance < least) [least, found] = [distance, labels[j]];
    }
    return found;
  };
  return correctShare(yTest, guessOf);
}

// ---- descent

const ADAM = { rate: 0.02, first: 0.9, second: 0.999, tiny: 1e-8 };

/** A distillation at its start: images of `start`, one a class, in the order of the classes. */
export function beginRun(real, settings, start) {
  const { x, classes } = real.data;
  const p = ofFilter(settings, real);
  const head = realHead(real, settings.filter, p);
  const images = new Float64Array(start.length * 64);
  start.forEach((at, i) => images.set(x.subarray(at * 64, at * 64 + 64), i * 64));
  const labels = start.map((_, i) => i % classes);
  const goal = { filter: settings.filter, p, head, power: head.reduce((t, v) => t + v * v, 0) };
  const still = () => new Float64Array(images.length);
  return { real, goal, x: images, labels, Y: targetsOf(labels, classes), t: 0, m: still(), v: still(), loss: NaN };
}

/** One step of Adam, in place; pixels stay in [0, 1]. */
export function adamStep(state) {
  const { x, m, v } = state;
  const { loss, gradient } = lossAndGradient(state.real, state.goal, x, state.Y);
  state.t += 1;
  state.loss = loss;
  const [one, two] = [1 - ADAM.first ** state.t, 1 - ADAM.second ** state.t];
  for (let i = 0; i < x.length; i++) {
    m[i] = ADAM.first * m[i] + (1 - ADAM.first) * gradient[i];
    v[i] = ADAM.second * v[i] + (1 - ADAM.second) * gradient[i] ** 2;
    x[i] = Math.min(1, Math.max(0, x[i] - (ADAM.rate * m[i]) / one / (Math.sqrt(v[i] / two) + ADAM.tiny)));
  }
  return state;
}
