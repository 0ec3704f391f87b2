// Explorers of UniDD: one ES module, drawn with plain SVG, for the published page (no kernel) and for Jupyter (anywidget).
// `render({model, el})` asks the model for its `kind` and hands over to the explorer of that name. The algebra is exported,
// so that a test can compare it with unidd.filters.

// ---- algebra -------------------------------------------------------------------------------------------------------

/** f(λ) by name; p = {beta: β, rate: α, steps: t}. The same formulas as unidd.filters. */
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
};

/** What a filter passes: the eigenvalues with |f(λ)| at least half of the largest |f| in this layer. */
export function passBand(eigenvalues, response) {
  const gains = eigenvalues.map((lam) => Math.abs(response(lam)));
  const top = Math.max(...gains);
  const passed = eigenvalues.filter((_, i) => top > 0 && gains[i] >= top / 2);
  const sum = (values) => values.reduce((a, b) => a + b, 0);
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
  const values = xs.map((x) => logs.reduce((sum, l) => sum + Math.exp(-0.5 * ((x - l) / width) ** 2), 0));
  const top = Math.max(...values) || 1;
  return values.map((v) => v / top);
}

// ---- shared parts --------------------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
let nextId = 0;

/** An element with attributes and children; `svg:` before the tag makes an SVG element. */
function h(tag, attributes = {}, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** A few significant digits, with a real minus sign and ×10ⁿ where plain digits would be long. */
export function format(value, digits = 3) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const power = Math.floor(Math.log10(Math.abs(value)));
  if (power >= -3 && power < 4) return Number(value.toPrecision(digits)).toString().replace("-", "−");
  return `${(value / 10 ** power).toFixed(1)}×10${superscript(power)}`.replace(/^-/, "−");
}

const superscript = (n) => String(n).replace(/[-0-9]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);

/** A labelled native range input; `show` turns the slider's position into text. */
function slider(label, { min, max, step, show, hint }, onInput) {
  const id = `ux-${nextId++}`;
  const output = h("output", { for: id });
  const input = h("input", { type: "range", id, min, max, step });
  input.addEventListener("input", () => onInput(Number(input.value)));
  const node = h("div", { class: "ux-slider" }, h("label", { for: id, title: hint }, label), input, output);
  const set = (position, enabled) => {
    input.value = position;
    input.disabled = !enabled;
    output.textContent = show();
    input.setAttribute("aria-valuetext", show());
  };
  return { node, set };
}

/** A labelled native select. */
function select(label, options, onChange) {
  const id = `ux-${nextId++}`;
  const input = h("select", { id }, ...options.map((o) => h("option", { value: o }, o)));
  input.addEventListener("change", () => onChange(input.value));
  const node = h("div", { class: "ux-select" }, h("label", { for: id }, label), input);
  return { node, set: (value) => { input.value = value; } };
}

/** Check boxes that look like chips, each with a sample of its line. */
function chips(legend, items, onChange) {
  const boxes = items.map(({ name, label }) => {
    const box = h("input", { type: "checkbox", value: name });
    box.addEventListener("change", () => onChange(boxes.filter((b) => b.checked).map((b) => b.value)));
    return box;
  });
  const node = h("fieldset", { class: "ux-chips" }, h("legend", {}, legend), ...items.map(({ name, label }, i) =>
    h("label", { class: `ux-chip ux-${name}` }, boxes[i], sample(name), label)));
  return { node, set: (names) => boxes.forEach((b) => { b.checked = names.includes(b.value); }) };
}

const sample = (name) => h("svg:svg", { class: "ux-sample", viewBox: "0 0 26 8", "aria-hidden": "true" },
  h("svg:path", { class: `ux-line ux-${name}`, d: "M1 4H25" }));

const pathOf = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
const text = (x, y, content, attributes = {}) => h("svg:text", { x, y, ...attributes }, content);

// ---- explorer: filters over a layer's spectrum -----------------------------------------------------------------------

const FILTERS = [
  { name: "allpass", label: "all-pass", formula: "1", uses: [] },
  { name: "linear", label: "linear", formula: "λ", uses: [] },
  { name: "ridge", label: "ridge", formula: "1/(λ+β)", uses: ["beta"] },
  { name: "landweber", label: "Landweber", formula: "(1−(1−αλ)ᵗ)/λ", uses: ["rate", "steps"] },
  { name: "residual", label: "residual", formula: "(1−αλ)ᵗ", uses: ["rate", "steps"] },
];
// 1, 2, … 1000 in about equal ratios: the stops of the slider for t.
const STEPS = [...new Set(Array.from({ length: 61 }, (_, i) => Math.round(10 ** (i / 20))))];
const DECADES = 5; // eigenvalues below λmax / 10⁵ are counted but not drawn

function renderFilters({ model, el }) {
  const eigenvalues = () => model.get("eigenvalues")[model.get("layer")];
  const largest = () => Math.max(...eigenvalues());
  const parameters = () => ({
    beta: model.get("beta"), rate: model.get("rate") / largest(), steps: model.get("steps"),
  });
  const shown = () => FILTERS.filter((f) => model.get("filters").includes(f.name));
  const change = (name, value) => { model.set(name, value); model.save_changes(); };

  const layer = select("Layer", Object.keys(model.get("eigenvalues")), (v) => change("layer", v));
  const picks = chips("Filters", FILTERS, (v) => change("filters", v));
  const mean = () => eigenvalues().reduce((a, b) => a + b, 0) / eigenvalues().length;
  const beta = slider("Ridge β", {
    min: -5, max: 2, step: 0.05, hint: "regulariser of ridge",
    show: () => `${format(model.get("beta"))} = ${format(model.get("beta") / mean(), 2)} × mean λ`,
  }, (v) => change("beta", Number((10 ** v).toPrecision(4))));
  const rate = slider("Step size α·λmax", {
    min: 0.05, max: 1.95, step: 0.05, hint: "learning rate times the largest eigenvalue; stable below 2",
    show: () => model.get("rate").toFixed(2),
  }, (v) => change("rate", v));
  const steps = slider("Steps t", {
    min: 0, max: STEPS.length - 1, step: 1, hint: "steps of gradient descent",
    show: () => String(model.get("steps")),
  }, (v) => change("steps", STEPS[v]));

  const chart = h("svg:svg", { class: "ux-chart", role: "img" });
  const body = h("tbody");
  const readout = h("table", { class: "ux-readout" },
    h("caption", {}, "Effective pass band: where |f(λ)| is at least half of its maximum in this layer"),
    h("thead", {}, h("tr", {}, ...["Filter", "Passes λ", "Directions", "Variance"].map((t) => h("th", { scope: "col" }, t)))),
    body);
  const live = h("p", { class: "ux-hidden", "aria-live": "polite" });
  el.replaceChildren(h("style", {}, CSS), h("div", { class: "ux" },
    h("div", { class: "ux-row" }, layer.node, picks.node), chart,
    h("div", { class: "ux-sliders" }, beta.node, rate.node, steps.node), readout, live));

  let announcing;
  function update() {
    const used = new Set(shown().flatMap((f) => f.uses));
    layer.set(model.get("layer"));
    picks.set(model.get("filters"));
    beta.set(Math.log10(model.get("beta")), used.has("beta"));
    rate.set(model.get("rate"), used.has("rate"));
    const nearest = STEPS.reduce((best, t, i) =>
      (Math.abs(t - model.get("steps")) < Math.abs(STEPS[best] - model.get("steps")) ? i : best), 0);
    steps.set(nearest, used.has("steps"));

    const bands = shown().map((f) => {
      const response = (lam) => responses[f.name](lam, parameters());
      return { ...f, response, ...passBand(eigenvalues(), response) };
    });
    drawFilters(chart, eigenvalues(), bands, parameters(), el.clientWidth || 680);
    const total = eigenvalues().length;
    body.replaceChildren(...bands.map((b) => h("tr", {},
      h("th", { scope: "row" }, sample(b.name), `${b.label} `, h("span", { class: "ux-formula" }, b.formula)),
      h("td", {}, `${format(b.low)} … ${format(b.high)}`),
      h("td", {}, `${b.count} of ${total}`), h("td", {}, `${percent(b.variance)}`))));
    const sentence = bands.map((b) =>
      `${b.label} passes ${b.count} of ${total} directions, ${percent(b.variance)} of the variance`).join("; ");
    chart.setAttribute("aria-label", `Filter response over the eigenvalues of ${model.get("layer")}. ${sentence}.`);
    clearTimeout(announcing); // a screen reader hears the end of a drag, not each step of it
    announcing = setTimeout(() => { live.textContent = sentence ? `${sentence}.` : "No filter chosen."; }, 400);
  }

  const names = ["beta", "rate", "steps", "filters", "layer", "eigenvalues"];
  names.forEach((name) => model.on(`change:${name}`, update));
  let drawnWidth = -1;
  const observer = new ResizeObserver(() => {
    if (el.clientWidth === drawnWidth) return; // a redraw changes the height, which must not start another
    drawnWidth = el.clientWidth;
    update();
  });
  observer.observe(el);
  update();
  return () => { observer.disconnect(); clearTimeout(announcing); names.forEach((n) => model.off(`change:${n}`, update)); };
}

const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

/** The chart: density and ticks of the eigenvalues, a curve and a pass-band bar for each filter, and its cut-off. */
function drawFilters(chart, eigenvalues, bands, { beta, rate, steps }, width) {
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
  const parts = [
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
    parts.push(h("svg:path", { class: "ux-grid", d: `M${X(k)} ${axis}v5` }),
      text(X(k), axis + 17, k === 0 ? "1" : k === 1 ? "10" : `10${superscript(k)}`, { "text-anchor": "middle" }));
  }
  parts.push(
    h("svg:path", { class: "ux-zero", d: `M${box.left} ${axis}H${box.right}` }),
    text(box.left, height - 3, "← high frequency, detail", { class: "ux-soft" }),
    text((box.left + box.right) / 2, height - 3, width > 480 ? "eigenvalue λ" : "λ", { "text-anchor": "middle" }),
    text(box.right, height - 3, width > 480 ? "low frequency, coarse structure →" : "low, coarse →",
      { "text-anchor": "end", class: "ux-soft" }),
  );
  const stop = 1 / (rate * steps);
  const cut = (value, other, label, name) => {
    const x = Math.log10(value);
    if (x < x0 || x > x1) return;
    const side = value < other ? { dx: -4, "text-anchor": "end" } : { dx: 4 }; // labels point away from each other
    parts.push(h("svg:path", { class: `ux-cut ux-${name}`, d: `M${X(x)} ${box.top}V${axis}` }),
      text(X(x), box.top - 1, label, { class: `ux-mark ux-${name}`, ...side }));
  };
  if (bands.some((b) => b.name === "ridge")) cut(beta, stop, "β", "ridge");
  if (bands.some((b) => b.uses.includes("steps"))) cut(stop, beta, "1/αt", "landweber");
  bands.forEach((b, i) => {
    parts.push(h("svg:path", { class: `ux-line ux-${b.name}`, d: pathOf(curves[i].map(([x, y]) => [X(x), Y(y)])) }));
    if (b.count) {
      const [from, to] = [b.low, b.high].map((lam) => X(Math.max(x0, Math.log10(Math.max(lam, 1e-300)))));
      parts.push(h("svg:rect", { class: `ux-band ux-${b.name}`, x: from - 2, y: bars + 7 * i, width: to - from + 4, height: 4, rx: 2 }));
    }
  });
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(...parts);
}

// ---- look ----------------------------------------------------------------------------------------------------------

const CSS = `
.ux { --ux-text: var(--pst-color-text-base, var(--jp-ui-font-color1, currentColor));
  --ux-soft: var(--pst-color-text-muted, var(--jp-ui-font-color2, currentColor));
  --ux-card: var(--pst-color-background, transparent);
  --ux-edge: var(--pst-color-border, var(--jp-border-color2, #8886));
  --ux-allpass: #59636e; --ux-linear: #b45309; --ux-ridge: #0b62b8; --ux-landweber: #0a7d5a; --ux-residual: #a6377f;
  color: var(--ux-text); background: var(--ux-card); border: 1px solid var(--ux-edge); border-radius: 12px;
  padding: 16px; font-size: 14px; line-height: 1.4; container-type: inline-size; }
html[data-theme="dark"] .ux, body[data-jp-theme-light="false"] .ux, html[theme="dark"] .ux {
  --ux-allpass: #aab4c0; --ux-linear: #f0a04b; --ux-ridge: #6cb6ff; --ux-landweber: #4ccb9f; --ux-residual: #ee8fc8; }
.ux *, .ux { box-sizing: border-box; }
.ux-allpass { --c: var(--ux-allpass); --dash: 2 5; } .ux-linear { --c: var(--ux-linear); --dash: 10 5; }
.ux-ridge { --c: var(--ux-ridge); --dash: none; } .ux-landweber { --c: var(--ux-landweber); --dash: 7 4 1.5 4; }
.ux-residual { --c: var(--ux-residual); --dash: 4 4; }
.ux-row { display: flex; flex-wrap: wrap; gap: 10px 24px; align-items: end; margin-bottom: 8px; }
.ux label, .ux legend { white-space: nowrap; color: var(--ux-soft); font-size: 13px; margin: 0; }
.ux-select { display: grid; gap: 4px; }
.ux select { font: inherit; color: inherit; background: var(--ux-card); border: 1px solid var(--ux-edge);
  border-radius: 8px; padding: 4px 8px; min-height: 32px; }
.ux option { color: #111; background: #fff; }
.ux-chips { display: flex; flex-wrap: wrap; gap: 6px; border: 0; margin: 0; padding: 0; min-width: 0; }
.ux-chips legend { padding: 0; margin-bottom: 4px; float: none; width: auto; }
.ux .ux-chip { display: inline-flex; align-items: center; gap: 7px; min-height: 32px; padding: 2px 11px; cursor: pointer;
  border: 1px solid var(--ux-edge); border-radius: 16px; }
.ux .ux-chip:has(:checked) { color: var(--ux-text); border-color: var(--c); }
.ux .ux-chip:not(:has(:checked)) .ux-sample { opacity: 0.35; }
.ux .ux-chip:has(:focus-visible), .ux select:focus-visible, .ux input[type="range"]:focus-visible {
  outline: 2px solid var(--ux-ridge); outline-offset: 2px; }
.ux-chip input { position: absolute; opacity: 0; width: 1px; height: 1px; }
.ux-sample { width: 26px; height: 8px; flex: none; vertical-align: middle; margin-right: 2px; }
.ux-chart { display: block; width: 100%; height: auto; overflow: visible; }
.ux-chart text { fill: var(--ux-text); font-size: 12px; font-family: inherit; }
.ux-chart text.ux-soft { fill: var(--ux-soft); }
.ux-chart text.ux-mark { fill: var(--c); font-style: italic; font-size: 13px; }
.ux-line { fill: none; stroke: var(--c); stroke-width: 2.4; stroke-dasharray: var(--dash); stroke-linejoin: round; }
.ux-cut { fill: none; stroke: var(--c); stroke-width: 1; opacity: 0.7; }
.ux-band { fill: var(--c); }
.ux-density { fill: var(--ux-soft); opacity: 0.17; }
.ux-rug { fill: none; stroke: var(--ux-soft); opacity: 0.55; }
.ux-grid { fill: none; stroke: var(--ux-edge); } .ux-zero { fill: none; stroke: var(--ux-soft); opacity: 0.7; }
.ux-sliders { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 190px), 1fr)); gap: 8px 24px; margin: 12px 0; }
.ux-slider { display: grid; grid-template-columns: auto 1fr; gap: 2px 8px; align-items: baseline; }
.ux-slider input { grid-column: 1 / -1; grid-row: 2; width: 100%; min-height: 24px; margin: 0; accent-color: var(--ux-ridge); }
.ux-slider output { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; font-size: 13px; }
.ux-slider:has(:disabled) { opacity: 0.45; }
.ux table.ux-readout { width: 100%; margin: 0; border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px;
  color: inherit; background: none; }
.ux-readout caption { caption-side: top; text-align: left; color: var(--ux-soft); font-size: 13px; padding: 4px 0; }
.ux .ux-readout th, .ux .ux-readout td { padding: 4px 8px 4px 0; text-align: right; border: 0; font-weight: normal; background: none; }
.ux .ux-readout tbody tr { border-top: 1px solid var(--ux-edge); background: none; }
.ux .ux-readout th:first-child { text-align: left; white-space: nowrap; }
.ux .ux-readout thead th { color: var(--ux-soft); } .ux-formula { color: var(--ux-soft); font-style: italic; }
@container (max-width: 480px) { .ux-formula { display: none; } }
.ux-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; margin: 0; }
`;

const EXPLORERS = { filters: renderFilters };

export default {
  render({ model, el }) {
    const explorer = EXPLORERS[model.get("kind")];
    if (!explorer) throw new Error(`no explorer of the kind "${model.get("kind")}"`);
    return explorer({ model, el });
  },
};
