// A distillation round by round: β, what ridge passes of a layer's spectrum, and the images.

import { passBand, responses, sum } from "./algebra.js";
import { oneOf, whole } from "./links.js";
import { change, deck, leftOf, mount, rightOf, setter } from "./page.js";
import {
  STYLE, captioned, centred, chart, draw, ends, format, frame, h, line, logAxis, percent, readout, remembered, rule,
  rungs, sample, scale, select, sheet, slider, text,
} from "./parts.js";

const PACE = 900; // milliseconds a round while it plays
const RIDGE = "ridge"; // the filter of CFM, and so the look of what it makes
const SIDES = [["start", STYLE.start, "photographs as they are"], ["distilled", RIDGE, "distilled"],
  ["classification", null, "by cross-entropy alone"]]; // name in the record, style, in words
const CURVES = [["real", STYLE.real, "Ψ, real"], ["start", STYLE.start, "Ψₛ of photographs"],
  ["distilled", RIDGE, "Ψₛ of distilled images"]];

export function renderCurriculum({ model, el }) {
  const record = model.get("record");
  const last = record.runs[model.get("schedule")].beta.length - 1;
  const play = playButton(model, last, () => shown.redraw());
  const controls = roundControls(model, last, play);
  const [betas, drawing, note] = [chart(), chart(), h("p", { class: "ux-note" })];
  const images = roundImages(model, last + 1);
  const limits = remembered(axisLimits);
  const keys = h("div", { class: "ux-caption" },
    ...CURVES.map(([, style, words]) => h("span", {}, sample(style), words)));
  const table = readout("Distance of Ψₛ from the real side, as a share of its size",
    ["Images so far", "Filter term", "Signal term"]);

  function update(width) {
    const [b, layer, schedule] = [model.get("round"), model.get("layer"), model.get("schedule")];
    const [real, run] = [record.real[layer], record.runs[schedule]];
    const beta = run.beta[b];
    const passed = passBand(real, (lam) => responses.ridge(lam, { beta }));
    const ridge = `ridge passes ${passed.count} of ${real.length} directions of ${layer}`;
    controls.update();
    drawBetas(betas, run.beta, b, leftOf(width) === width ? (width - 12) / 2 : leftOf(width));
    const [times, share] = [format((beta * real.length) / sum(real), 2), percent(passed.variance)];
    note.textContent = `β = ${format(beta)} = ${times} × mean λ: ${ridge}, ${share} of the variance.`;
    const curves = { real, start: record.start[layer][b], distilled: run.synthetic[layer][b] };
    drawSpectra(drawing, curves, beta, limits(record, layer), rightOf(width));
    images.update(b, schedule);
    const sentence = `Round ${b}: β is ${format(beta)}, and ${ridge}. ${showDistances(table, run, layer, b)}`;
    drawing.setAttribute("aria-label",
      `Eigenvalues of the real and the synthetic side by direction, beside the response. ${sentence}`);
    return play.playing() ? "" : sentence; // nobody can listen to a sentence a second
  }

  const fields = { round: whole(0, last), schedule: oneOf(Object.keys(record.runs)),
    layer: oneOf(Object.keys(record.real)) };
  const shown = mount({ model, el }, fields, [deck({
    l1: controls.rows, r1: [...images.strips, images.note, drawing, keys],
    l2: h("div", { class: "ux-halves" }, betas, images.whole), r2: [note, table.node],
  })], update, { reset: play.stop });
  return () => { play.stop(); shown(); };
}

/** Both distances of each side after round b, in the table; those of the filter term in a sentence. */
function showDistances(table, run, layer, b) {
  const distances = SIDES.map(([side]) => run.distances[side][layer]);
  const [filter, signal] = ["filter", "signal"].map((term) => distances.map((found) => percent(found[term][b])));
  table.set(SIDES.map(([, style, words], i) => [style ? [sample(style), words] : words, filter[i], signal[i]]));
  return `Filter term: ${SIDES.map(([, , words], i) => `${words} ${filter[i]}`).join(", ")}.`;
}

/** The button that plays. It plays only when asked to; for who prefers less motion, it goes on by one round. */
function playButton(model, last, redraw) {
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const node = h("button", { type: "button" });
  let timer = null;
  const playing = () => timer !== null;
  const stop = () => { clearInterval(timer); timer = null; };
  const next = () => {
    const b = model.get("round") < last ? model.get("round") + 1 : 0;
    if (b === last) stop(); // before it is shown: the last round is announced
    change(model, { round: b });
  };
  node.addEventListener("click", () => {
    if (playing()) stop();
    else if (still.matches) next();
    else {
      timer = setInterval(next, PACE);
      if (model.get("round") === last) next();
    }
    redraw();
  });
  const update = () => { node.textContent = still.matches ? "Next round" : playing() ? "Pause" : "Play"; };
  return { node, playing, stop, update };
}

/** Schedule and layer in a row; below it the round, whose slider stops the playing, and the button that plays. */
function roundControls(model, last, play) {
  const schedule = select("Schedule of β", Object.keys(model.get("record").runs), setter(model, "schedule"));
  const layer = select("Layer", Object.keys(model.get("record").real), setter(model, "layer"));
  const round = slider("Round b", {
    min: 0, max: last, step: 1, hint: "each round distils one image of each class; those of earlier rounds stay",
    show: () => `${model.get("round")} of 0 … ${last}`,
  }, (v) => { play.stop(); change(model, { round: v }); });
  const rows = [h("div", { class: "ux-row" }, schedule.node, layer.node), round.node, play.node];
  const update = () => {
    Object.entries({ schedule, layer, round }).forEach(([name, control]) => control.set(model.get(name)));
    play.update();
  };
  return { rows, update };
}

/** The ends of a layer's axis of log₁₀ λ: the same for all rounds and schedules, seven decades at most. */
function axisLimits({ real, start, runs }, layer) {
  const values = [...real[layer], ...start[layer].flat(),
    ...Object.values(runs).flatMap((r) => [...r.synthetic[layer].flat(), ...r.beta])].filter((v) => v > 0);
  const top = Math.log10(Math.max(...values)) + 0.15;
  return [Math.max(top - 7, Math.log10(Math.min(...values)) - 0.15), top];
}

const dot = (style, x, y, r) => h("svg:circle", { class: `ux-band ux-${style}`, cx: x, cy: y, r });

/** β of every round, the current one marked. */
function drawBetas(drawing, betas, b, width) {
  const box = frame(width, { top: 24, least: 64, most: 100, share: 0.3 });
  const [left, right] = box.across;
  const top = Math.max(...betas);
  const [first, now, last] = [betas[0], betas[b], betas[betas.length - 1]].map((beta) => format(beta));
  drawing.setAttribute("aria-label", `β of each round, from ${first} to ${last}; now ${now}.`);
  const X = scale([0, Math.max(1, betas.length - 1)], [left + 8, right - 8]);
  const Y = scale([0, top], box.up);
  const points = betas.map((v, i) => [X(i), Y(v)]);
  const every = Math.ceil((betas.length * 18) / (right - left));
  draw(drawing, width, box.bottom + 22, [
    text(0, 12, "β of each round b"),
    ...rungs([0, top].map((v) => [Y(v), format(v, 2)]), [box.across], box.bottom),
    line(RIDGE, points),
    ...points.map(([x, y], i) => dot(RIDGE, x, y, i === b ? 7 : 3)),
    ...points.flatMap(([x], i) => (i % every ? [] : [centred(x, box.bottom + 16, String(i))])),
  ]);
}

/** Eigenvalues by direction on a logarithmic axis; beside them, along the same axis, the response β/(λ + β). */
function drawSpectra(drawing, curves, beta, decades, width) {
  const { real } = curves;
  const box = frame(width, { least: 140, most: 260, share: 0.34 });
  const { left, right, bottom } = box;
  const split = left + 0.7 * (right - left);
  const [main, beside] = [[left, split], [split + 22, right]];
  const axis = logAxis(decades, box.up);
  const X = scale([-0.5, real.length - 0.5], main);
  const R = scale([0, 1], beside);
  const edge = axis.at(beta + 2 * real.at(-1)); // ridge passes what lies below
  draw(drawing, width, bottom + 38, [
    ...[main, beside].map(([from, to]) =>
      h("svg:rect", { class: "ux-window", x: from, y: edge, width: to - from, height: bottom - edge })),
    text(0, 12, box.wide ? "eigenvalues λ; shaded: what ridge passes" : "eigenvalues λ"),
    text(beside[0], 12, "β/(λ + β)"),
    ...rungs(axis.decades(), [main, beside]),
    ...CURVES.flatMap(([side, style]) => spectrumMarks(style, curves[side].map((v, i) => [X(i), axis.at(v)]))),
    rule(`cut ux-${RIDGE}`, axis.at(beta), main, beside),
    text(split + 4, axis.at(beta) + 4, "β", { class: `ux-mark ux-${RIDGE}` }),
    line(RIDGE, axis.values(100).map((lam) => [R(beta / (lam + beta)), axis.at(lam)])),
    rule("zero", bottom, main, beside),
    ...[[0, "0"], [0.5, "½"], [1, "1"]].map(([r, label]) => centred(R(r), bottom + 16, label)),
    ...[1, real.length].map((i) => centred(X(i - 1), bottom + 16, String(i))),
    ...ends(bottom + 34, main, "← low frequency", "direction", "high →"),
    centred((beside[0] + beside[1]) / 2, bottom + 34, "response"),
  ]);
}

/** Eigenvalues as a curve, the real side's broad; with dots where directions are too few for a line alone to show. */
function spectrumMarks(style, points) {
  const dots = points.length < 8 ? points.map(([x, y]) => dot(style, x, y, 3)) : [];
  return [line(style === STYLE.real ? style : `${style} ux-thin`, points), ...dots];
}

/** What a round starts from and ends with, and the whole set, whose later rounds are still pale photographs. */
function roundImages(model, rounds) {
  const [sheets, names] = [model.get("sheets"), model.get("names")];
  const [wide, high] = sheets.start ? model.get("shape") : [1, rounds * 3 - 2];
  const pitch = (high + 2) / rounds; // rows of a sheet lie two pixels apart
  const strips = ["start", "distilled"].map((side) => {
    const [image, caption] = [sheet([wide, high], sheets[side]), h("span")];
    const window = h("div", { class: "ux-strip", style: `aspect-ratio: ${wide} / ${pitch - 2}` }, image);
    return { image, caption, node: captioned(window, caption) };
  });
  const [behind, front] = ["start", "distilled"].map((side) => sheet([wide, high], sheets[side]));
  const caption = h("span");
  const whole = captioned(h("div", { class: "ux-stack" }, behind, front), caption);
  const pictures = [...strips.map((s) => s.node), whole];
  const note = h("p", { class: "ux-note" }, `Pictures are of the schedule “${model.get("pictured")}”.`);
  behind.alt = `Photographs that later rounds start from${names}`;
  const update = (b, schedule) => {
    const hidden = !sheets.start || schedule !== model.get("pictured");
    pictures.forEach((node) => { node.hidden = hidden; });
    note.hidden = !sheets.start || !hidden;
    strips.forEach(({ image }) => { image.style.transform = `translateY(${(-100 * b * pitch) / high}%)`; });
    strips[0].image.alt = `The photographs round ${b} starts from, one of each class${names}`;
    strips[1].image.alt = `The images round ${b} ends with, one of each class${names}`;
    strips[0].caption.textContent = `round ${b} starts from these photographs`;
    strips[1].caption.textContent = "and ends with these images";
    front.style.clipPath = `inset(0 0 ${Math.max(0, 100 * (1 - ((b + 1) * pitch - 2) / high))}% 0)`;
    front.alt = `Images of rounds 0 to ${b}, a row each`;
    caption.textContent = `the set after round ${b}`;
  };
  return { strips: strips.map((s) => s.node), whole, note, update };
}
