// Explorers of UniDD, 3 of 7: filters over the spectrum of a layer, and what they do to a photograph.

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

function renderFilters({ model, el }) {
  const spectrum = (layer) => model.get("eigenvalues")[layer ?? model.get("layer")];
  const largest = (layer) => Math.max(...spectrum(layer));
  const mean = () => sum(spectrum()) / spectrum().length;
  const parameters = () => ({
    beta: model.get("beta"), rate: model.get("rate") / largest(), steps: model.get("steps"),
    low: model.get("centre") / Math.sqrt(10), high: model.get("centre") * Math.sqrt(10),
  });
  const shown = () => FILTERS.filter((f) => model.get("filters").includes(f.name));
  const set = (values) => {
    const after = (name) => values[name] ?? model.get(name);
    const tied = after("linked") && { beta: largest(after("layer")) / (after("rate") * after("steps")) };
    change(model, { ...values, ...tied });
  };

  const layer = select("Layer", Object.keys(model.get("eigenvalues")), (v) => set({ layer: v }));
  const picks = chips("Filters", FILTERS, (v) => set({ filters: v }));
  const logarithmic = (label, name, hint, show) => slider(label, { min: -5, max: 2, step: 0.05, hint, show },
    (v) => set({ [name]: Number((10 ** v).toPrecision(4)) }));
  const relative = (name) => `${format(model.get(name))} = ${format(model.get(name) / mean(), 2)} × mean λ`;
  const beta = logarithmic("Ridge β", "beta", "regulariser of ridge", () => relative("beta"));
  const centre = logarithmic("Band centre", "centre", "middle of the decade of λ that band-pass keeps",
    () => relative("centre"));
  const rate = slider("Step size α·λmax", {
    min: 0.05, max: 1.95, step: 0.05, hint: "learning rate times the largest eigenvalue; stable below 2",
    show: () => model.get("rate").toFixed(2),
  }, (v) => set({ rate: v }));
  const steps = slider("Steps t", {
    min: 0, max: STEPS.length - 1, step: 1, hint: "steps of gradient descent",
    show: () => String(model.get("steps")),
  }, (v) => set({ steps: STEPS[v] }));
  const linked = toggle("Tie β to 1/(αt)", "ridge then follows the steps of gradient descent", (v) => set({ linked: v }));

  const chart = h("svg:svg", { class: "ux-chart", role: "img" });
  const table = readout("Effective pass band: where |f(λ)| is at least half of its maximum in this layer",
    ["Filter", "Passes λ", "Directions", "Variance"]);
  const gallery = model.get("picture")?.pixels ? filteredPictures(model.get("picture")) : null;

  function update(width) {
    const used = new Set(shown().flatMap((f) => f.uses));
    layer.set(model.get("layer"));
    picks.set(model.get("filters"));
    beta.set(Math.log10(model.get("beta")), used.has("beta") && !model.get("linked"));
    centre.set(Math.log10(model.get("centre")), used.has("centre"));
    centre.node.hidden = !used.has("centre");
    rate.set(model.get("rate"), used.has("rate"));
    const nearest = STEPS.reduce((best, t, i) =>
      (Math.abs(t - model.get("steps")) < Math.abs(STEPS[best] - model.get("steps")) ? i : best), 0);
    steps.set(nearest, used.has("steps"));
    linked.set(model.get("linked"));

    const bands = shown().map((f) => {
      const response = (lam) => responses[f.name](lam, parameters());
      return { ...f, response, ...passBand(spectrum(), response) };
    });
    drawFilters(chart, spectrum(), bands, parameters(), width);
    gallery?.update(bands, model.get("layer"), spectrum());
    const total = spectrum().length;
    table.set(bands.map((b) => [
      [sample(b.name), `${b.label} `, h("span", { class: "ux-formula" }, b.formula)],
      `${format(b.low)} … ${format(b.high)}`, `${b.count} of ${total}`, percent(b.variance),
    ]));
    const sentence = bands.map((b) =>
      `${b.label} passes ${b.count} of ${total} directions, ${percent(b.variance)} of the variance`).join("; ");
    chart.setAttribute("aria-label", `Filter response over the eigenvalues of ${model.get("layer")}. ${sentence}.`);
    return sentence ? `${sentence}.` : "No filter chosen.";
  }

  return mount({ model, el }, ["beta", "rate", "steps", "centre", "filters", "layer", "eigenvalues", "linked"], [
    h("div", { class: "ux-row" }, layer.node, picks.node), chart, gallery?.node,
    h("div", { class: "ux-sliders" }, beta.node, rate.node, steps.node, centre.node, linked.node), table.node,
  ], update);
}

/** The photograph, and beside it what each chosen filter makes of it, all with the photograph's own contrast. */
function filteredPictures(state) {
  const photo = decompose(state);
  const original = picture(state.size, "The photograph", "photograph");
  original.draw((i) => photo.grey[i], "The photograph, not filtered");
  const filtered = Object.fromEntries(FILTERS.map((f) => [f.name, picture(state.size, `The photograph after ${f.label}`, sample(f.name), f.label)]));
  const row = h("div", { class: "ux-pictures" }, original.node, ...Object.values(filtered).map((p) => p.node));
  const note = h("p", { class: "ux-note" },
    `The features of this layer are no pixels. Choose the layer “${state.layer}” to see what filters do to a photograph.`);
  const update = (bands, layer, eigenvalues) => {
    row.hidden = layer !== state.layer;
    note.hidden = !row.hidden;
    if (row.hidden) return;
    Object.values(filtered).forEach(({ node }) => { node.hidden = true; });
    for (const { name, label, response } of bands) {
      const values = stretched(combine(photo, eigenvalues.map(response)));
      filtered[name].draw((i) => photo.mean + photo.std * values[i], `The photograph after ${label}, with its own contrast`);
      filtered[name].node.hidden = false;
    }
  };
  return { node: h("div", {}, row, note), update };
}

/** The chart: density and ticks of the eigenvalues, a curve and a pass-band bar for each filter, and its cut-off. */
function drawFilters(chart, eigenvalues, bands, { beta, rate, steps, low, high }, width) {
  const top = Math.max(...eigenvalues);
  const smallest = Math.min(...eigenvalues.filter((lam) => lam >= top / 10 ** DECADES));
  const [x0, x1] = [Math.log10(smallest) - 0.15, Math.log10(top) + 0.06];
  const xs = Array.from({ length: 241 }, (_, i) => x0 + ((x1 - x0) * i) / 240);
  const within = [...xs.filter((x) => x < Math.log10(top)), Math.log10(top)];
  const curves = bands.map((b) => within.map((x) => [x, b.top > 0 ? b.response(10 ** x) / b.top : 0]));
  const negative = curves.some((curve) => curve.some(([, y]) => y < -0.02));

  const box = { left: 34, right: width - 10, top: 32, bottom: 32 + Math.min(280, Math.max(190, width * 0.42)) };
  const X = (x) => box.left + ((x - x0) / (x1 - x0)) * (box.right - box.left);
  const clamp = (y) => Math.max(negative ? -1.08 : -0.03, Math.min(1.08, y));
  const Y = (y) => box.bottom - ((clamp(y) + (negative ? 1.08 : 0)) / (negative ? 2.16 : 1.08)) * (box.bottom - box.top);
  const rug = box.bottom + 14;
  const bars = rug + 6;
  const axis = bars + 7 * bands.length + 4;
  const height = axis + 38;

  const density = logDensity(eigenvalues, xs);
  const reach = (box.bottom - box.top) * 0.55;
  const area = pathOf(xs.map((x, i) => [X(x), box.bottom - reach * density[i]]));
  const marks = [
    h("svg:path", { class: "ux-density", d: `${area}L${X(x1)} ${box.bottom}L${X(x0)} ${box.bottom}Z` }),
    ...[0, 0.5, 1, ...(negative ? [-0.5, -1] : [])].flatMap((y) => [
      h("svg:path", { class: y === 0 ? "ux-zero" : "ux-grid", d: `M${box.left} ${Y(y)}H${box.right}` }),
      text(box.left - 6, Y(y) + 4, { 0.5: "½", "-0.5": "−½" }[y] ?? String(y).replace("-", "−"), { "text-anchor": "end" }),
    ]),
    text(0, 12, `f(λ), relative to its maximum${width > 480 ? "; grey: density of the eigenvalues" : ""}`),
    h("svg:path", { class: "ux-rug", d: eigenvalues.filter((lam) => lam >= smallest)
      .map((lam) => `M${X(Math.log10(lam)).toFixed(1)} ${rug - 10}v10`).join("") }),
  ];
  for (let k = Math.ceil(x0); k <= x1; k++) {
    marks.push(h("svg:path", { class: "ux-grid", d: `M${X(k)} ${axis}v5` }),
      text(X(k), axis + 17, power10(k), { "text-anchor": "middle" }));
  }
  marks.push(
    h("svg:path", { class: "ux-zero", d: `M${box.left} ${axis}H${box.right}` }),
    text(box.left, height - 3, width > 480 ? "← high frequency, detail" : "← high, detail", { class: "ux-soft" }),
    text((box.left + box.right) / 2, height - 3, width > 480 ? "eigenvalue λ" : "λ", { "text-anchor": "middle" }),
    text(box.right, height - 3, width > 480 ? "low frequency, coarse structure →" : "low, coarse →",
      { "text-anchor": "end", class: "ux-soft" }),
  );
  const stop = 1 / (rate * steps);
  const cut = (value, other, label, name) => {
    const x = Math.log10(value);
    if (x < x0 || x > x1) return;
    const side = value < other ? { dx: -4, "text-anchor": "end" } : { dx: 4 }; // labels point away from each other
    marks.push(h("svg:path", { class: `ux-cut ux-${name}`, d: `M${X(x)} ${box.top}V${axis}` }),
      text(X(x), box.top - 1, label, { class: `ux-mark ux-${name}`, ...side }));
  };
  const [ridge, descent, band] = [(b) => b.name === "ridge", (b) => b.uses.includes("steps"), (b) => b.name === "bandpass"]
    .map((test) => bands.some(test));
  const equal = ridge && descent && Math.abs(beta / stop - 1) < 1e-6;
  if (ridge) cut(beta, stop, equal ? "β = 1/αt" : "β", "ridge");
  if (descent && !equal) cut(stop, beta, "1/αt", "landweber");
  if (band) [low, high].forEach((edge) => cut(edge, edge, "", "bandpass"));
  bands.forEach((b, i) => {
    marks.push(h("svg:path", { class: `ux-line ux-${b.name}`, d: pathOf(curves[i].map(([x, y]) => [X(x), Y(y)])) }));
    if (b.count) {
      const [from, to] = [b.low, b.high].map((lam) => X(Math.max(x0, Math.log10(Math.max(lam, 1e-300)))));
      marks.push(h("svg:rect", { class: `ux-band ux-${b.name}`, x: from - 2, y: bars + 7 * i, width: to - from + 4, height: 4, rx: 2 }));
    }
  });
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(...marks);
}
