// Explorers of UniDD, 4 of 7: keep or drop a band of eigendirections of a photograph's patches.

function renderBand({ model, el }) {
  const photo = decompose(model.get("picture"));
  const lam = model.get("eigenvalues");
  const signal = model.get("signal");
  const d = lam.length;
  const variance = lam.map((value) => value / sum(lam));
  const ends = () => [model.get("first"), model.get("last")].sort((a, b) => a - b);

  const direction = (label, name) => slider(label, {
    min: 1, max: d, step: 1, hint: "directions are counted from the largest eigenvalue, the coarsest structure",
    show: () => String(model.get(name)),
  }, (v) => change(model, { [name]: v }));
  const first = direction("First direction", "first");
  const last = direction("Last direction", "last");
  const mode = select("Band", [["keep", "keep it, drop the rest"], ["drop", "drop it, keep the rest"]],
    (v) => change(model, { mode: v }));
  const stretch = toggle("Stretch contrast", "gives the result the photograph's own contrast",
    (v) => change(model, { stretch: v }));

  const before = picture(photo.size, "The photograph", "photograph");
  before.draw((i) => photo.grey[i], "The photograph, all directions");
  const caption = h("span");
  const after = picture(photo.size, "The photograph, some directions", caption);
  const vectors = eigenvectors(photo, d);
  const chart = h("svg:svg", { class: "ux-chart", role: "img" });
  const table = readout("Share of the band, and of what the right picture is made of", ["", "Band", "Picture"]);

  function update(width) {
    const [low, high] = ends();
    [["first", first], ["last", last]].forEach(([name, control]) => control.set(model.get(name)));
    mode.set(model.get("mode"));
    stretch.set(model.get("stretch"));
    const weights = bandWeights(d, low, high, model.get("mode"));
    const values = bandPicture(photo, weights, model.get("stretch"));
    const kept = model.get("mode") === "keep" ? "only directions" : "without directions";
    caption.textContent = `${kept} ${low} … ${high}`;
    after.draw((i) => values[i], `The photograph, ${kept} ${low} to ${high} of ${d}`);
    vectors.update(low, high);
    const inside = (shares) => sum(shares.slice(low - 1, high));
    const made = (shares) => sum(shares.filter((_, i) => weights[i]));
    const rows = [["variance", variance], ...(signal.length ? [["class signal", signal]] : [])];
    table.set([["directions", `${high - low + 1} of ${d}`, `${sum(weights)} of ${d}`],
      ...rows.map(([name, shares]) => [[sample(name === "variance" ? "ridge" : "linear"), name],
        percent(inside(shares)), percent(made(shares))])]);
    drawShares(chart, variance, signal, low, high, width);
    const sentence = `Directions ${low} to ${high} of ${d} hold ${rows.map(([name, shares]) =>
      `${percent(inside(shares))} of the ${name}`).join(" and ")}; the picture ${
      model.get("mode") === "keep" ? "shows them alone" : "shows all others"}.`;
    chart.setAttribute("aria-label", `Share of each eigendirection. ${sentence}`);
    return sentence;
  }

  return mount({ model, el }, ["first", "last", "mode", "stretch"], [
    h("div", { class: "ux-pictures ux-large" }, before.node, after.node,
      captioned(vectors.node, "eigendirections, the band bright")),
    h("div", { class: "ux-sliders" }, first.node, last.node,
      h("div", { class: "ux-row" }, mode.node, stretch.node)),
    chart, table.node,
  ], update);
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
      tile.forEach((v, k) => image.data.set([v, v, v, alpha], 4 * (corner + Math.floor(k / side) * width + (k % side))));
    });
    context.putImageData(image, 0, 0);
    canvas.setAttribute("aria-label", `The ${d} eigenvectors as pictures, from coarse to fine; ${low} to ${high} stand out`);
  };
  return { node: canvas, update };
}

/** Share of each direction in the variance and in the class signal, on a logarithmic axis, the band shaded. */
function drawShares(chart, variance, signal, low, high, width) {
  const box = { left: 44, right: width - 10, top: 28, bottom: 28 + Math.max(130, Math.min(190, width * 0.3)) };
  const shares = [...variance, ...signal].filter((v) => v > 1e-7);
  const [y0, y1] = [Math.log10(Math.min(...shares)) - 0.2, Math.log10(Math.max(...shares)) + 0.2];
  const slot = (box.right - box.left) / variance.length;
  const X = (i) => box.left + (i - 0.5) * slot;
  const Y = (share) => box.bottom - ((Math.max(y0, Math.log10(Math.max(share, 1e-300))) - y0) / (y1 - y0)) * (box.bottom - box.top);
  const marks = [
    h("svg:rect", { class: "ux-window", x: X(low) - slot / 2, y: box.top, width: (high - low + 1) * slot, height: box.bottom - box.top }),
    text(0, 12, `share of each direction in the variance${!signal.length ? "" : width > 480 ? " and in the class signal" : ", class signal"}`),
    h("svg:path", { class: "ux-zero", d: `M${box.left} ${box.bottom}H${box.right}` }),
  ];
  const every = y1 - y0 > 4 ? 2 : 1;
  for (let k = Math.ceil(y0); k <= y1; k += every) {
    marks.push(h("svg:path", { class: "ux-grid", d: `M${box.left} ${Y(10 ** k)}H${box.right}` }),
      text(box.left - 6, Y(10 ** k) + 4, power10(k), { "text-anchor": "end" }));
  }
  [["ridge", variance], ["linear", signal]].forEach(([name, values]) => {
    if (!values.length) return;
    marks.push(h("svg:path", { class: `ux-line ux-thin ux-${name}`, d: pathOf(values.map((v, i) => [X(i + 1), Y(v)])) }));
  });
  [1, low, high, variance.length].filter((v, i, all) => all.indexOf(v) === i && all.every((other, j) =>
    j <= i || other === v || Math.abs(X(v) - X(other)) > 16)).forEach((i) =>
    marks.push(text(X(i), box.bottom + 15, String(i), { "text-anchor": "middle" })));
  marks.push(text(box.left, box.bottom + 32, "← coarse", { class: "ux-soft" }),
    text((box.left + box.right) / 2, box.bottom + 32, "direction", { "text-anchor": "middle" }),
    text(box.right, box.bottom + 32, "fine →", { "text-anchor": "end", class: "ux-soft" }));
  chart.setAttribute("viewBox", `0 0 ${width} ${box.bottom + 36}`);
  chart.replaceChildren(...marks);
}
