// Explorers of UniDD, 6 of 7: a distillation round by round: β, what ridge passes of a layer's spectrum, and the images.

const PACE = 900; // milliseconds a round while it plays
const SIDES = [["start", "allpass", "photographs as they are"], ["distilled", "linear", "distilled"],
  ["classification", null, "by cross-entropy alone"]]; // name in the record, style, in words

function renderCurriculum({ model, el }) {
  const { real: spectra, start, runs } = model.get("record");
  const run = () => runs[model.get("schedule")];
  const last = run().beta.length - 1;

  const schedule = select("Schedule of β", Object.keys(runs), (v) => change(model, { schedule: v }));
  const layer = select("Layer", Object.keys(spectra), (v) => change(model, { layer: v }));
  const round = slider("Round b", {
    min: 0, max: last, step: 1, hint: "each round distils one image of each class; those of earlier rounds stay",
    show: () => `${model.get("round")} of 0 … ${last}`,
  }, (v) => { stop(); change(model, { round: v }); });

  // It plays only when asked to; for who prefers less motion, the button goes on by one round.
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const play = h("button", { type: "button" });
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; };
  const next = () => {
    const b = model.get("round") < last ? model.get("round") + 1 : 0;
    if (b === last) stop(); // before it is shown: the last round is announced
    change(model, { round: b });
  };
  play.addEventListener("click", () => {
    if (timer) stop();
    else if (still.matches) next();
    else {
      timer = setInterval(next, PACE);
      if (model.get("round") === last) next();
    }
    shown.redraw();
  });

  const betas = h("svg:svg", { class: "ux-chart", role: "img" });
  const note = h("p", { class: "ux-note" });
  const chart = h("svg:svg", { class: "ux-chart", role: "img" });
  const images = roundImages(model, last + 1);
  const legend = h("div", { class: "ux-caption" }, ...[["real", "real side Ψ"], ["allpass", "Ψₛ of the photographs so far"],
    ["linear", "Ψₛ of the images distilled so far"]].map(([style, words]) => h("span", {}, sample(style), words)));
  const table = readout("Distance of Ψₛ from the real side, as a share of its size", ["Images so far", "Filter term", "Signal term"]);

  function update(width) {
    const [b, of] = [model.get("round"), model.get("layer")];
    const [real, beta] = [spectra[of], run().beta[b]];
    const response = (lam) => responses.ridge(lam, { beta });
    const passed = passBand(real, response);
    round.set(b);
    schedule.set(model.get("schedule"));
    layer.set(of);
    play.textContent = still.matches ? "Next round" : timer ? "Pause" : "Play";
    drawBetas(betas, run().beta, b, width);
    betas.setAttribute("aria-label", `β of each round, from ${format(run().beta[0])} to ${format(run().beta[last])}; now ${format(beta)}.`);
    note.textContent = `β = ${format(beta)} = ${format(beta * real.length / sum(real), 2)} × mean λ: ridge passes ${passed.count} of ${
      real.length} directions of ${of}, ${percent(passed.variance)} of the variance.`;
    const curves = { real, start: start[of][b], distilled: run().synthetic[of][b] };
    drawSpectra(chart, curves, beta, axisOf(model.get("record"), of), width);
    images.update(b, model.get("schedule"));
    const shares = SIDES.map(([side]) => ["filter", "signal"].map((term) => percent(run().distances[side][of][term][b])));
    table.set(SIDES.map(([, style, words], i) => [style ? [sample(style), words] : words, ...shares[i]]));
    const sentence = `Round ${b}: β is ${format(beta)}, and ridge passes ${passed.count} of ${real.length} directions of ${of}. `
      + `Filter term: ${SIDES.map(([, , words], i) => `${words} ${shares[i][0]}`).join(", ")}.`;
    chart.setAttribute("aria-label", `Eigenvalues of the real and the synthetic side by direction, beside the response. ${sentence}`);
    return timer ? "" : sentence; // nobody can listen to a sentence a second
  }

  const shown = mount({ model, el }, ["round", "schedule", "layer"], [
    h("div", { class: "ux-row" }, schedule.node, layer.node),
    h("div", { class: "ux-row ux-play" }, play, round.node),
    betas, note, chart, legend, table.node, images.node,
  ], update);
  return () => { stop(); shown(); };
}

/** The ends of a layer's axis of log₁₀ λ: the same for all rounds and schedules, seven decades at most. */
function axisOf({ real, start, runs }, layer) {
  const values = [...real[layer], ...start[layer].flat(),
    ...Object.values(runs).flatMap((r) => [...r.synthetic[layer].flat(), ...r.beta])].filter((v) => v > 0);
  const top = Math.log10(Math.max(...values)) + 0.15;
  return [Math.max(top - 7, Math.log10(Math.min(...values)) - 0.15), top];
}

/** β of every round, the current one marked. */
function drawBetas(chart, betas, b, width) {
  const box = { left: 44, right: width - 10, top: 24, bottom: 24 + Math.max(64, Math.min(100, width * 0.16)) };
  const top = Math.max(...betas);
  const X = (i) => box.left + 8 + (i / Math.max(1, betas.length - 1)) * (box.right - box.left - 16);
  const Y = (v) => box.bottom - (v / top) * (box.bottom - box.top);
  const every = Math.ceil((betas.length * 18) / (box.right - box.left));
  chart.setAttribute("viewBox", `0 0 ${width} ${box.bottom + 22}`);
  chart.replaceChildren(
    text(0, 12, "β of each round b"),
    ...[0, top].flatMap((v) => [h("svg:path", { class: v ? "ux-grid" : "ux-zero", d: `M${box.left} ${Y(v)}H${box.right}` }),
      text(box.left - 6, Y(v) + 4, format(v, 2), { "text-anchor": "end" })]),
    h("svg:path", { class: "ux-line ux-ridge", d: pathOf(betas.map((v, i) => [X(i), Y(v)])) }),
    ...betas.map((v, i) => h("svg:circle", { class: "ux-band ux-ridge", cx: X(i), cy: Y(v), r: i === b ? 7 : 3 })),
    ...betas.flatMap((_, i) => (i % every ? [] : [text(X(i), box.bottom + 16, String(i), { "text-anchor": "middle" })])),
  );
}

/** Eigenvalues by direction on a logarithmic axis; beside them, along the same axis, the response β/(λ + β). */
function drawSpectra(chart, { real, start, distilled }, beta, [y0, y1], width) {
  const box = { left: 44, right: width - 10, top: 28, bottom: 28 + Math.min(280, Math.max(200, width * 0.42)) };
  const split = box.left + 0.7 * (box.right - box.left);
  const beside = split + 22;
  const slot = (split - box.left) / real.length;
  const X = (i) => box.left + (i + 0.5) * slot;
  const R = (r) => beside + r * (box.right - beside);
  const Y = (lam) => box.bottom - ((Math.min(y1, Math.max(y0, Math.log10(Math.max(lam, 1e-300)))) - y0) / (y1 - y0)) * (box.bottom - box.top);
  const edge = Y(beta + 2 * real.at(-1)); // ridge passes what lies below
  const marks = [
    ...[[box.left, split], [beside, box.right]].map(([from, to]) =>
      h("svg:rect", { class: "ux-window", x: from, y: edge, width: to - from, height: box.bottom - edge })),
    text(0, 12, width > 480 ? "eigenvalues λ; shaded: what ridge passes" : "eigenvalues λ"),
    text(beside, 12, "β/(λ + β)"),
  ];
  for (let k = Math.ceil(y0); k <= y1; k++) {
    marks.push(h("svg:path", { class: "ux-grid", d: `M${box.left} ${Y(10 ** k)}H${split}M${beside} ${Y(10 ** k)}H${box.right}` }),
      text(box.left - 6, Y(10 ** k) + 4, power10(k), { "text-anchor": "end" }));
  }
  const heights = Array.from({ length: 101 }, (_, i) => 10 ** (y0 + ((y1 - y0) * i) / 100));
  const dots = real.length < 8; // too few directions for a line alone to show
  [["real", real], ["allpass", start], ["linear", distilled]].forEach(([name, values]) => {
    marks.push(h("svg:path", { class: `ux-line ux-${name}${name === "real" ? "" : " ux-thin"}`, d: pathOf(values.map((v, i) => [X(i), Y(v)])) }),
      ...(dots ? values.map((v, i) => h("svg:circle", { class: `ux-band ux-${name}`, cx: X(i), cy: Y(v), r: 3 })) : []));
  });
  marks.push(
    h("svg:path", { class: "ux-cut ux-ridge", d: `M${box.left} ${Y(beta)}H${split}M${beside} ${Y(beta)}H${box.right}` }),
    text(split + 4, Y(beta) + 4, "β", { class: "ux-mark ux-ridge" }),
    h("svg:path", { class: "ux-line ux-ridge", d: pathOf(heights.map((lam) => [R(beta / (lam + beta)), Y(lam)])) }),
    h("svg:path", { class: "ux-zero", d: `M${box.left} ${box.bottom}H${split}M${beside} ${box.bottom}H${box.right}` }),
    ...[[0, "0"], [0.5, "½"], [1, "1"]].map(([r, label]) => text(R(r), box.bottom + 16, label, { "text-anchor": "middle" })),
    text(X(0), box.bottom + 16, "1", { "text-anchor": "middle" }),
    text(X(real.length - 1), box.bottom + 16, String(real.length), { "text-anchor": "middle" }),
    text(box.left, box.bottom + 34, "← coarse", { class: "ux-soft" }),
    text((box.left + split) / 2, box.bottom + 34, "direction", { "text-anchor": "middle" }),
    text(split, box.bottom + 34, "fine →", { "text-anchor": "end", class: "ux-soft" }),
    text((beside + box.right) / 2, box.bottom + 34, "response", { "text-anchor": "middle" }),
  );
  chart.setAttribute("viewBox", `0 0 ${width} ${box.bottom + 38}`);
  chart.replaceChildren(...marks);
}

/** What a round starts from and ends with, and the whole set, whose later rounds are still pale photographs. */
function roundImages(model, rounds) {
  const [sheets, names] = [model.get("sheets"), model.get("names")];
  const [wide, high] = sheets.start ? model.get("shape") : [1, rounds * 3 - 2];
  const pitch = (high + 2) / rounds; // rows of a sheet lie two pixels apart
  const sheet = (side) => h("img", { src: sheets[side], width: wide, height: high, class: "ux-pixels" });
  const strips = ["start", "distilled"].map((side) => {
    const image = sheet(side);
    const caption = h("span");
    return { image, caption, node: captioned(h("div", { class: "ux-strip", style: `aspect-ratio: ${wide} / ${pitch - 2}` }, image), caption) };
  });
  const [behind, front] = [sheet("start"), sheet("distilled")];
  const caption = h("span");
  const whole = captioned(h("div", { class: "ux-stack" }, behind, front), caption);
  const pictures = h("div", { class: "ux-rounds" }, h("div", {}, ...strips.map((s) => s.node)), whole);
  const note = h("p", { class: "ux-note" }, `Pictures are of the schedule “${model.get("pictured")}”.`);
  behind.alt = `Photographs that later rounds start from${names}`;
  const update = (b, schedule) => {
    pictures.hidden = !sheets.start || schedule !== model.get("pictured");
    note.hidden = !sheets.start || !pictures.hidden;
    strips.forEach(({ image }) => { image.style.transform = `translateY(${(-100 * b * pitch) / high}%)`; });
    strips[0].image.alt = `The photographs round ${b} starts from, one of each class${names}`;
    strips[1].image.alt = `The images round ${b} ends with, one of each class${names}`;
    strips[0].caption.textContent = `round ${b} starts from these photographs`;
    strips[1].caption.textContent = "and ends with these images";
    front.style.clipPath = `inset(0 0 ${Math.max(0, 100 * (1 - ((b + 1) * pitch - 2) / high))}% 0)`;
    front.alt = `Images of rounds 0 to ${b}, a row each`;
    caption.textContent = `the set after round ${b}`;
  };
  return { node: h("div", {}, pictures, note), update };
}
