// Filters over the spectrum of a layer, and what they do to a photograph.

import { combine, decompose, logDensity, passBand, responses, stretched, sum } from "./algebra.js";
import { flag, numeric, oneOf, someOf, whole } from "./links.js";
import { change, deck, mount, rightOf } from "./page.js";
import {
  area, chart, chips, draw, ends, format, frame, h, line, logAxis, percent, picture, readout, remembered, rule, rungs,
  sample, scale, select, slider, text, ticks, toggle,
} from "./parts.js";
import { overlay, photographTool } from "./photos.js";

const FILTERS = [
  { name: "allpass", label: "all-pass", formula: "1", uses: [] },
  { name: "linear", label: "linear", formula: "λ", uses: [] },
  { name: "ridge", label: "ridge", formula: "1/(λ+β)", uses: ["beta"] },
  { name: "landweber", label: "Landweber", formula: "(1−(1−αλ)ᵗ)/λ", uses: ["rate", "steps"] },
  { name: "residual", label: "residual", formula: "(1−αλ)ᵗ", uses: ["rate", "steps"] },
  { name: "bandpass", label: "band-pass", formula: "1 in one decade of λ, else 0", uses: ["centre"] },
];
// 1, 2, … 1000 in about equal ratios: the stops of the slider for t.
const STEPS = [...new Set(Array.from({ length: 61 }, (_, i) => Math.round(10 ** (i / 20))))];
const DECADES = 5; // eigenvalues below λmax / 10⁵ are counted but not drawn

export function renderFilters({ model: given, el }) {
  const own = {};
  const model = overlay(given, own);
  const controls = filterControls(model);
  const [drawing, hill] = [chart(), remembered(density)];
  const table = readout("Effective pass band: where |f(λ)| is at least half of its maximum in this layer",
    ["Filter", "Passes λ", "Directions", "Variance"]);
  const pictured = given.get("picture")?.pixels ? given.get("picture") : null;
  const gallery = pictured ? filteredPictures(model) : null;

  function update(width) {
    const [layer, spectrum, p] = [model.get("layer"), spectrumOf(model), parameters(model)];
    const bands = FILTERS.filter((f) => model.get("filters").includes(f.name)).map((f) => {
      const response = (lam) => responses[f.name](lam, p);
      return { ...f, response, ...passBand(spectrum, response) };
    });
    controls.update(new Set(bands.flatMap((b) => b.uses)), p);
    drawFilters(drawing, hill, spectrum, bands, p, rightOf(width));
    gallery?.update(bands, layer, spectrum);
    table.set(bands.map((b) => [
      [sample(b.name), `${b.label} `, h("span", { class: "ux-formula" }, b.formula)],
      `${format(b.low)} … ${format(b.high)}`, `${b.count} of ${spectrum.length}`, percent(b.variance),
    ]));
    const sentence = bands.map((b) => `${b.label} passes ${b.count} of ${spectrum.length} directions, ${
      percent(b.variance)} of the variance`).join("; ");
    drawing.setAttribute("aria-label", `Filter response over the eigenvalues of ${layer}. ${sentence}.`);
    return sentence ? `${sentence}.` : "No filter chosen.";
  }

  const photograph = pictured && photographTool(el, pictured.side, (found) => {
    const eigenvalues = found && { ...given.get("eigenvalues"), [pictured.layer]: found.eigenvalues };
    Object.assign(own, { eigenvalues, picture: found && { ...found.picture, layer: pictured.layer } });
    if (found) change(model, { layer: pictured.layer });
    shown.redraw();
  });
  const shown = mount({ model, el }, { ...fieldsOf(given), eigenvalues: null },
    [deck({ l1: controls.choices, r1: drawing, l2: controls.sliders, r2: gallery?.node }), table.node], update,
    { tools: photograph?.nodes, reset: photograph?.clear });
  return shown;
}

/** What a link may say. */
const fieldsOf = (model) => ({
  beta: numeric(1e-5, 100), rate: numeric(0.05, 1.95), steps: whole(1, 1000), centre: numeric(1e-5, 100),
  filters: someOf(FILTERS.map(({ name }) => name)), layer: oneOf(Object.keys(model.get("eigenvalues"))), linked: flag,
});

const spectrumOf = (model, layer = model.get("layer")) => model.get("eigenvalues")[layer];

/** What the formulas of the filters need; α from the slider's share of 1/λmax, to which β may be tied. */
function parameters(model) {
  const [rate, centre] = [model.get("rate") / Math.max(...spectrumOf(model)), model.get("centre")];
  const [low, high] = [centre / Math.sqrt(10), centre * Math.sqrt(10)];
  const beta = model.get("linked") ? 1 / (rate * model.get("steps")) : model.get("beta");
  return { beta, rate, steps: model.get("steps"), low, high };
}

/** Set traits; where it is tied to them, β follows the layer, α and t. */
function setTied(model, values) {
  const after = (name) => values[name] ?? model.get(name);
  const largest = () => Math.max(...spectrumOf(model, after("layer")));
  change(model, { ...values, ...(after("linked") && { beta: largest() / (after("rate") * after("steps")) }) });
}

/** What to show, and the sliders. */
function filterControls(model) {
  const sets = (name, of = (v) => v) => (v) => setTied(model, { [name]: of(v) });
  const mean = () => sum(spectrumOf(model)) / spectrumOf(model).length;
  let tied = {}; // β as it is shown, which may be tied
  const valueOf = (name) => tied[name] ?? model.get(name);
  const logarithmic = (label, name, hint) => slider(label, {
    min: -5, max: 2, step: 0.05, hint,
    show: () => `${format(valueOf(name))} = ${format(valueOf(name) / mean(), 2)} mean λ`,
  }, sets(name, (v) => Number((10 ** v).toPrecision(4))));

  const layer = select("Layer", Object.keys(model.get("eigenvalues")), sets("layer"));
  const picks = chips("Filters", FILTERS, sets("filters"));
  const beta = logarithmic("Ridge β", "beta", "regulariser of ridge");
  const centre = logarithmic("Band centre", "centre", "middle of the decade of λ that band-pass keeps");
  const rate = slider("Step size α·λmax", {
    min: 0.05, max: 1.95, step: 0.05, hint: "learning rate times the largest eigenvalue; stable below 2",
    show: () => model.get("rate").toFixed(2),
  }, sets("rate"));
  const steps = slider("Steps t", {
    min: 0, max: STEPS.length - 1, step: 1, hint: "steps of gradient descent", show: () => String(model.get("steps")),
  }, sets("steps", (v) => STEPS[v]));
  const linked = toggle("Tie β to 1/(αt)", "ridge then follows the steps of gradient descent", sets("linked"));

  const update = (used, { beta: now }) => {
    tied = { beta: now };
    layer.set(model.get("layer"));
    picks.set(model.get("filters"));
    beta.set(Math.log10(now), used.has("beta") && !model.get("linked"));
    centre.set(Math.log10(model.get("centre")), used.has("centre"));
    centre.node.hidden = !used.has("centre");
    rate.set(model.get("rate"), used.has("rate"));
    steps.set(nearest(STEPS, model.get("steps")), used.has("steps"));
    linked.set(model.get("linked"));
  };
  return { choices: [layer.node, picks.node], update,
    sliders: h("div", { class: "ux-sliders" }, ...[beta, rate, steps, centre, linked].map((control) => control.node)) };
}

/** Index of the value nearest to a wanted one. */
const nearest = (values, wanted) => values.reduce((best, v, i) =>
  (Math.abs(v - wanted) < Math.abs(values[best] - wanted) ? i : best), 0);

/** The photograph, and beside it what each chosen filter makes of it, all with the photograph's own contrast. */
function filteredPictures(model) {
  const { size, layer: pixels } = model.get("picture");
  const photoOf = remembered(decompose);
  const original = picture(size, "The photograph", "photograph");
  const filtered = Object.fromEntries(FILTERS.map(({ name, label }) =>
    [name, { ...picture(size, `The photograph after ${label}`, sample(name), label), drawn: "" }]));
  const row = h("div", { class: "ux-pictures ux-small" }, original.node, ...Object.values(filtered).map((p) => p.node));
  const note = h("p", { class: "ux-note" }, "The features of this layer are no pixels. ",
    `Choose the layer “${pixels}” to see what filters do to a photograph.`);
  let seen;
  const begin = (photo) => {
    if (seen === photo) return;
    seen = photo;
    original.draw(photo.grey, "The photograph, not filtered");
    Object.values(filtered).forEach((p) => { p.drawn = ""; });
  };
  const update = (bands, layer, eigenvalues) => {
    row.hidden = layer !== pixels;
    note.hidden = !row.hidden;
    if (row.hidden) return;
    const photo = photoOf(model.get("picture"));
    begin(photo);
    const weights = Object.fromEntries(bands.map(({ name, response }) => [name, eigenvalues.map(response)]));
    for (const { name, label } of FILTERS) {
      const [shown, key] = [filtered[name], weights[name]?.join()];
      shown.node.hidden = !weights[name];
      if (!weights[name] || shown.drawn === key) continue; // a slider moves one filter or two, and the rest stays
      shown.drawn = key;
      shown.draw(stretched(combine(photo, weights[name])), `The photograph after ${label}, with its own contrast`,
        photo.mean, photo.std);
    }
  };
  return { node: [row, note], update };
}

/** The chart: density and ticks of the eigenvalues, a curve and a pass-band bar for each filter, and its cut-off. */
function drawFilters(drawing, hill, eigenvalues, bands, p, width) {
  const { top, drawn, box, lambda } = filterAxes(eigenvalues, width);
  const values = [...lambda.values(240).filter((lam) => lam < top), top];
  const curves = bands.map((b) => values.map((lam) => [lam, b.top > 0 ? b.response(lam) / b.top : 0]));
  const negative = curves.some((curve) => curve.some(([, y]) => y < -0.02));
  const place = scale([negative ? -1.08 : 0, 1.08], box.up);
  const Y = (y) => place(Math.max(negative ? -1.08 : -0.03, Math.min(1.08, y)));
  const heights = [[0, "0"], [0.5, "½"], [1, "1"], ...(negative ? [[-0.5, "−½"], [-1, "−1"]] : [])];
  const rug = box.bottom + 14;
  const foot = rug + 10 + 7 * bands.length; // the axis of λ, below a bar for each filter
  const words = box.wide ? ["← high frequency", "eigenvalue λ", "low frequency →"]
    : ["← high", "λ", "low →"];
  draw(drawing, width, foot + 38, [
    hill(eigenvalues, width),
    ...rungs(heights.map(([y, label]) => [Y(y), label]), [box.across], Y(0)),
    text(0, 12, `f(λ), relative to its maximum${box.wide ? "; grey: density of the eigenvalues" : ""}`),
    h("svg:path", { class: "ux-rug", d: drawn.map((lam) => `M${lambda.at(lam).toFixed(1)} ${rug - 10}v10`).join("") }),
    ...ticks(lambda.decades(), foot),
    rule("zero", foot, box.across),
    ...ends(foot + 35, box.across, ...words),
    ...cutOffs(bands, p, lambda, box.top, foot),
    ...bands.flatMap((b, i) => [line(b.name, curves[i].map(([lam, y]) => [lambda.at(lam), Y(y)])),
      ...passBar(b, lambda, rug + 6 + 7 * i)]),
  ]);
}

/** Where the chart is, the eigenvalues that are drawn, and the axis of λ. */
function filterAxes(eigenvalues, width) {
  const top = Math.max(...eigenvalues);
  const drawn = eigenvalues.filter((lam) => lam >= top / 10 ** DECADES);
  const box = frame(width, { left: 34, top: 32, least: 160, most: 260, share: 0.42 });
  const limits = [Math.log10(Math.min(...drawn)) - 0.15, Math.log10(top) + 0.06];
  return { top, drawn, box, lambda: logAxis(limits, box.across) };
}

/** How densely the eigenvalues lie along the axis, as a hill behind the curves. */
function density(eigenvalues, width) {
  const { lambda, box: { bottom, top, across: [left, right] } } = filterAxes(eigenvalues, width);
  const values = lambda.values(240);
  const heights = logDensity(eigenvalues, values.map(Math.log10));
  const hill = values.map((lam, i) => [lambda.at(lam), bottom - 0.55 * (bottom - top) * heights[i]]);
  return area("ux-density", [...hill, [right, bottom], [left, bottom]]);
}

/** Where ridge, gradient descent and band-pass cut off: β, 1/(αt), and the two ends of the band. */
function cutOffs(bands, { beta, rate, steps, low, high }, lambda, top, bottom) {
  const stop = 1 / (rate * steps);
  const cut = (value, other, label, name) => {
    if (!lambda.holds(value)) return [];
    const [x, away] = [lambda.at(value), value < other]; // labels point away from each other
    return [h("svg:path", { class: `ux-cut ux-${name}`, d: `M${x} ${top}V${bottom}` }), text(x, top - 1, label,
      { class: `ux-mark ux-${name}`, dx: away ? -4 : 4, "text-anchor": away ? "end" : null })];
  };
  const ridge = bands.some((b) => b.name === "ridge");
  const descent = bands.some((b) => b.uses.includes("steps"));
  const equal = ridge && descent && Math.abs(beta / stop - 1) < 1e-6;
  return [
    ...(ridge ? cut(beta, stop, equal ? "β = 1/αt" : "β", "ridge") : []),
    ...(descent && !equal ? cut(stop, beta, "1/αt", "landweber") : []),
    ...(bands.some((b) => b.name === "bandpass") ? [low, high].flatMap((edge) => cut(edge, edge, "", "bandpass")) : []),
  ];
}

/** The bar that shows which λ a filter passes, if any. */
function passBar({ name, count, low, high }, lambda, y) {
  if (!count) return [];
  const [from, to] = [lambda.at(low), lambda.at(high)];
  return [h("svg:rect", { class: `ux-band ux-${name}`, x: from - 2, y, width: to - from + 4, height: 4, rx: 2 })];
}
