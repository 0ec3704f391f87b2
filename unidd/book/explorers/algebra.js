// The algebra of the explorers; tests compare it with the Python package.

/** f(λ) by name; p = {beta: β, rate: α, steps: t, low, high}. The same formulas as unidd.core.filters. */
export const responses = {
  allpass: () => 1,
  linear: (lam) => lam,
  ridge: (lam, p) => 1 / (lam + p.beta),
  // (1 − (1 − αλ)^t) / λ. Below αλ = 1 through expm1 and log1p, which lose no digits where αλ is small.
  landweber: (lam, p) => {
    const x = p.rate * lam;
    if (x === 0) return p.rate * p.steps;
    return (x < 1 ? -Math.expm1(p.steps * Math.log1p(-x)) : 1 - (1 - x) ** p.steps) / lam;
  },
  residual: (lam, p) => (1 - p.rate * lam) ** p.steps,
  bandpass: (lam, p) => (lam >= p.low && lam < p.high ? 1 : 0),
};

export const sum = (values) => values.reduce((a, b) => a + b, 0);

/** What a filter passes: the eigenvalues with |f(λ)| at least half of the largest |f| in this layer. */
export function passBand(eigenvalues, response) {
  const gains = eigenvalues.map((lam) => Math.abs(response(lam)));
  const top = Math.max(...gains);
  const passed = eigenvalues.filter((_, i) => top > 0 && gains[i] >= top / 2);
  return {
    low: passed.length ? Math.min(...passed) : NaN,
    high: passed.length ? Math.max(...passed) : NaN,
    count: passed.length,
    variance: sum(passed) / (sum(eigenvalues) || 1),
    top,
  };
}

/** Density of log₁₀ λ at the points xs (Gaussian kernel, a sixth of a decade wide), scaled to a maximum of 1. */
export function logDensity(eigenvalues, xs, width = 1 / 6) {
  const logs = eigenvalues.filter((lam) => lam > 0).map(Math.log10);
  const values = xs.map((x) => logs.reduce((total, l) => total + Math.exp(-0.5 * ((x - l) / width) ** 2), 0));
  const top = Math.max(...values) || 1;
  return values.map((v) => v / top);
}

// ---- a photograph as overlapping patches

/** The bytes that a base64 string holds. */
export const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

/** Mean and standard deviation of some numbers. */
export function moments(values) {
  let [total, squares] = [0, 0];
  for (let i = 0; i < values.length; i++) total += values[i];
  const mean = total / values.length;
  for (let i = 0; i < values.length; i++) squares += (values[i] - mean) ** 2;
  return { mean, std: Math.sqrt(squares / values.length) };
}

/** Where the pixels of a patch lie, from its first one on. */
export const offsetsOf = ({ size, side }) =>
  Array.from({ length: side * side }, (_, k) => Math.floor(k / side) * size + (k % side));

/** Where patches begin, row by row. */
export function startsOf({ size, side, stride }) {
  const corners = Array.from({ length: Math.floor((size - side) / stride) + 1 }, (_, i) => i * stride);
  return corners.flatMap((y) => corners.map((x) => y * size + x));
}

/**
 * The parts of a photograph: part i is what eigendirection uᵢ holds of every patch, uᵢuᵢᵀx, put back in place and
 * averaged where patches overlap. The parts of all directions add up to the (standardised) photograph.
 *
 * state = {size, side, stride, pixels: bytes, basis: float64, a direction after another}; both may be in base64.
 */
export function decompose(state) {
  const { size, side } = state;
  const held = (values) => (typeof values === "string" ? bytes(values) : values);
  const grey = Array.from(held(state.pixels), (v) => v / 255);
  const { mean, std } = moments(grey);
  const standard = Float64Array.from(grey, (v) => (v - mean) / std);
  const basis = held(state.basis);
  const directions = basis instanceof Float64Array ? basis : new Float64Array(basis.buffer);
  const [offsets, starts] = [offsetsOf(state), startsOf(state)];
  const count = new Float64Array(size * size);
  for (const start of starts) for (const offset of offsets) count[start + offset] += 1;
  const found = offsets.map((_, i) => {
    const u = directions.subarray(i * offsets.length, (i + 1) * offsets.length);
    return partOf(standard, u, starts, offsets, count);
  });
  return { size, side, mean, std, grey, directions, found };
}

/** What direction u holds of each patch, back in place, overlaps averaged. */
function partOf(standard, u, starts, offsets, count) {
  const part = new Float64Array(standard.length);
  for (const start of starts) {
    let coefficient = 0;
    for (let k = 0; k < u.length; k++) coefficient += u[k] * standard[start + offsets[k]];
    for (let k = 0; k < u.length; k++) part[start + offsets[k]] += coefficient * u[k];
  }
  for (let at = 0; at < part.length; at++) part[at] /= count[at];
  return part;
}

/** Σᵢ wᵢ × part i: the photograph with each eigendirection weighed by wᵢ, such as f(λᵢ). */
export function combine({ size, found }, weights) {
  const values = new Float64Array(size * size);
  weights.forEach((w, i) => {
    const part = found[i];
    if (w !== 0) for (let at = 0; at < values.length; at++) values[at] += w * part[at];
  });
  return values;
}

/** Moved and scaled to mean 0 and variance 1, the photograph's own; all 0 where nothing is left. */
export function stretched(values) {
  const { mean, std } = moments(values);
  const flat = !(std > 1e-9 * Math.abs(mean) && std > 0);
  const out = new Float64Array(values.length);
  if (!flat) for (let i = 0; i < out.length; i++) out[i] = (values[i] - mean) / std;
  return out;
}

/** Weights that keep, or drop, the directions first … last of d, counted from 1, in either order. */
export function bandWeights(d, first, last, mode) {
  const [low, high] = [Math.min(first, last), Math.max(first, last)];
  return Array.from({ length: d }, (_, i) => Number((i + 1 >= low && i + 1 <= high) === (mode === "keep")));
}

/** Share of the energy above `cutoff` cycles a pixel; a ring of a radial spectrum counts by its circumference. */
export function highFrequencyShare(frequency, power, cutoff = 0.25) {
  const energy = frequency.map((f, i) => f * power[i]);
  return sum(energy.filter((_, i) => frequency[i] > cutoff)) / sum(energy);
}
