// Explorers of UniDD, 5 of 7: distilled images of different filters, and how their power is spread over frequencies.

function renderImages({ model, el }) {
  const sheets = model.get("sheets");
  const powers = model.get("powers");
  const frequency = model.get("frequency");
  const methods = Object.keys(sheets).filter((name) => name !== "start");
  const inWords = (name) => ({ start: "start images", real: "real data" }[name] ?? name);

  const chosen = select("Filter", methods, (v) => change(model, { chosen: v }));
  const against = select("Compare with", [["start", "start images"], ...methods], (v) => change(model, { against: v }));
  const panels = ["start", "chosen", "against"].map((role) => {
    const image = h("img", { class: "ux-pixels", width: model.get("shape")[0], height: model.get("shape")[1] });
    const caption = h("span");
    return { role, image, caption, node: captioned(image, caption) };
  });
  const chart = h("svg:svg", { class: "ux-chart", role: "img" });
  const table = readout("Share of the energy above ¼ cycle a pixel", ["Images", "Share", "× real data"]);

  function update(width) {
    const [one, other] = [model.get("chosen"), model.get("against")];
    chosen.set(one);
    against.set(other);
    panels.forEach(({ role, image, caption, node }) => {
      const name = role === "start" ? "start" : model.get(role);
      node.hidden = role === "against" && (other === "start" || other === one);
      image.src = sheets[name];
      image.alt = `${name === "start" ? "The images distillation starts from" : `Images distilled with ${name}`}${model.get("names")}`;
      const style = role === "start" ? "allpass" : STYLES[role];
      caption.replaceChildren(sample(style), inWords(name));
    });
    const curves = [["real", "real"], ["start", "allpass"], [one, STYLES.chosen],
      ...(other === "start" || other === one ? [] : [[other, STYLES.against]])]
      .map(([name, style]) => ({ name, style, ...powers[name] }));
    const shares = curves.map(({ mean }) => highFrequencyShare(frequency, mean));
    table.set(curves.map(({ name, style }, i) =>
      [[sample(style), inWords(name)], percent(shares[i]), format(shares[i] / shares[0])]));
    drawPowers(chart, frequency, curves, width);
    const sentence = curves.map(({ name }, i) => `${inWords(name)} ${percent(shares[i])}`).join("; ");
    chart.setAttribute("aria-label", `Radial power spectral density. Energy above a quarter cycle a pixel: ${sentence}.`);
    return `Energy above a quarter cycle a pixel: ${sentence}.`;
  }

  return mount({ model, el }, ["chosen", "against"], [
    h("div", { class: "ux-row" }, chosen.node, against.node),
    h("div", { class: "ux-pictures ux-large" }, ...panels.map((p) => p.node)), chart, table.node,
  ], update);
}

const STYLES = { chosen: "ridge", against: "linear" };

/** Power against frequency, both as they are read off a photograph: low frequencies left, power in decades. */
function drawPowers(chart, frequency, curves, width) {
  const lowest = (c) => Math.min(...c.mean.map((m, i) => Math.max(m - (c.std[i] ?? 0), m / 3)));
  const [y0, y1] = [Math.log10(Math.min(...curves.map(lowest))) - 0.1,
    Math.log10(Math.max(...curves.flatMap((c) => c.mean.map((m, i) => m + (c.std[i] ?? 0))))) + 0.1];
  const box = { left: 44, right: width - 10, top: 28, bottom: 28 + Math.min(280, Math.max(190, width * 0.42)) };
  const X = (f) => box.left + (f / 0.5) * (box.right - box.left);
  const Y = (p) => box.bottom - ((Math.log10(Math.max(p, 10 ** y0)) - y0) / (y1 - y0)) * (box.bottom - box.top);
  const spread = !curves.some((c) => c.std.length) ? "" : `; shaded: ± ${width > 480 ? "one standard deviation" : "1 std"}`;
  const marks = [text(0, 12, `power at each frequency${spread}`)];
  for (let k = Math.ceil(y0); k <= y1; k++) {
    marks.push(h("svg:path", { class: "ux-grid", d: `M${box.left} ${Y(10 ** k)}H${box.right}` }),
      text(box.left - 6, Y(10 ** k) + 4, power10(k), { "text-anchor": "end" }));
  }
  [[0, "0"], [0.125, "⅛"], [0.25, "¼"], [0.375, "⅜"], [0.5, "½"]].forEach(([f, label]) =>
    marks.push(h("svg:path", { class: "ux-grid", d: `M${X(f)} ${box.bottom}v5` }),
      text(X(f), box.bottom + 17, label, { "text-anchor": "middle" })));
  marks.push(h("svg:path", { class: "ux-zero", d: `M${box.left} ${box.bottom}H${box.right}` }),
    text(box.left, box.bottom + 35, "← coarse", { class: "ux-soft" }),
    text((box.left + box.right) / 2, box.bottom + 35, width > 480 ? "frequency, cycles a pixel" : "cycles a pixel", { "text-anchor": "middle" }),
    text(box.right, box.bottom + 35, "fine →", { "text-anchor": "end", class: "ux-soft" }));
  for (const { style, mean, std } of curves) {
    if (std.length) {
      const edge = (sign) => mean.map((m, i) => [X(frequency[i]), Y(m + sign * std[i])]);
      marks.push(h("svg:path", { class: `ux-spread ux-${style}`, d: `${pathOf([...edge(1), ...edge(-1).reverse()])}Z` }));
    }
    marks.push(h("svg:path", { class: `ux-line ux-${style}`, d: pathOf(mean.map((m, i) => [X(frequency[i]), Y(m)])) }));
  }
  chart.setAttribute("viewBox", `0 0 ${width} ${box.bottom + 39}`);
  chart.replaceChildren(...marks);
}
