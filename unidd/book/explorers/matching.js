// What methods leave unmatched in each band of a layer's frequencies, the filter that their gradients act as, and their
// images filtered to a band.

import { oneOf, someOf, whole } from "./links.js";
import { change, deck, mount, rightOf, setter } from "./page.js";
import {
  area, centred, chart, chips, draw, ends, format, frame, h, line, logAxis, rule, rungs, sample, scale, select, sheet,
  slider, text, ticks,
} from "./parts.js";

const MOST = 6; // methods that can be told apart, as in unidd.book.widgets
const VIEWS = [["clean", "as they are"], ["own", "as a method sees"]];
const MEASURES = [["residual", "e(λ), what is left"], ["transfer", "1 − T(λ), vs start"]];
const TERMS = { filter: "spectrum (FFC)", class: "class signal", mean: "mean feature" };
const PLACES = { 0: "start", 0.5: "middle", 1: "end" };
const HEADS = [["Method"], ["e", "what is left unmatched in the band"],
  ["T", "1 − e/e of the random start: 1 is all gained"],
  ["c", "weight of the band in the method's gradient, over the largest of the layer"],
  ["R²", "part of the gradient that bands and cross-entropy explain"], ["bands", "part of R² that is of bands"]];

export function renderMatching({ model, el }) {
  const study = model.get("study");
  const controls = matchingControls(model, study);
  const [upper, lower, note] = [chart(), chart(), h("p", { class: "ux-note" })];
  const table = matchingTable(model, study);

  function update(width) {
    const choice = choiceOf(model);
    const readings = bandReadings(study, choice);
    const axis = bandAxis(study, choice, rightOf(width));
    controls.update();
    drawUnmatched(upper, readings, choice, axis, styleIn(study));
    drawWeights(lower, readings, choice, axis, styleIn(study));
    table.update(readings, choice);
    note.textContent = remarks(study, readings, choice);
    note.hidden = !note.textContent;
    const sentence = spoken(study, readings, choice);
    upper.setAttribute("aria-label", `${measureWords(choice)} in each band. ${sentence}`);
    lower.setAttribute("aria-label", `Effective filter: weights of bands in the methods' own gradients. ${
      weightWords(readings)}`);
    return sentence;
  }

  [upper, lower].forEach((drawing) => pickBand(drawing, model, study));
  return mount({ model, el }, fieldsOfMatching(study), [
    controls.picks, deck({ l1: controls.choices, r1: [upper, lower], l2: controls.band }), table.node, note,
  ], update);
}

/** A click on a drawing chooses the band that is there, for who points; the slider does it for all. */
function pickBand(drawing, model, study) {
  drawing.classList.add("ux-pick");
  drawing.addEventListener("click", (event) => {
    const { left, width } = drawing.getBoundingClientRect();
    change(model, { band: bandAxis(study, choiceOf(model), width).bandAt(event.clientX - left) });
  });
}

const FIELDS = ["methods", "epoch", "layer", "band", "view", "measure", "term", "at"];
const choiceOf = (model) => Object.fromEntries(FIELDS.map((name) => [name, model.get(name)]));
const styleIn = (study) => (name) => `${study.styles[name][0]} ux-dash-${study.styles[name][1]}`;

/** What a link may say. */
const fieldsOfMatching = (study) => ({
  methods: atMost(someOf(study.methods)), epoch: oneOf(study.epochs), layer: oneOf(study.layers),
  band: whole(0, study.bands - 1), view: oneOf(VIEWS.map(([view]) => view)),
  measure: oneOf(MEASURES.map(([measure]) => measure)), term: oneOf(study.terms), at: oneOf(study.places),
});
const atMost = ({ read, good }) => ({ read, good: (v) => v.length <= MOST && good(v) });

// ---- numbers

/**
 * What is known of the real images and of each chosen method in a layer: e and 1 − T of every band with their standard
 * deviations, weights of bands, none without a gradient; of the chosen band e, T and c; R² and the part of it that is
 * of bands; whether that is too little for weights to mean anything.
 */
export function bandReadings(study, { methods, epoch, layer, band, view, term, at }) {
  const number = study.terms.indexOf(term);
  return [study.reference, ...methods].map((name) => {
    const views = study.residuals[name];
    const [e, eStd, kept, keptStd] = (views[view] ?? views.clean)[epoch][layer][number];
    const seen = study.gradients[name][at]?.[epoch];
    const weights = seen?.weights[layer]?.[number] ?? [];
    return {
      name, plain: !views[view], residual: { mean: e, std: eStd }, transfer: { mean: kept, std: keptStd }, weights,
      e: e[band], T: 1 - kept[band], c: seen?.weights[layer] && (weights[band] ?? 0), r2: seen?.r2, bands: seen?.bands,
      faint: Boolean(seen) && seen.explained < study.least,
    };
  });
}

const networkWords = (epoch) => (epoch === "0" ? "random weights" : `after ${epoch} epoch${epoch === "1" ? "" : "s"}`);
const placeWords = (at) => PLACES[at] ?? `${Math.round(100 * at)} % of it`;
const measureWords = ({ measure }) =>
  (measure === "residual" ? "What is left unmatched, e(λ)" : "1 − T(λ), e over that of the random start");
const listed = (names) => [names.slice(0, -1).join(", "), ...names.slice(-1)].filter(Boolean).join(" and ");
const short = (value) => format(value, 2);

function spoken(study, readings, { epoch, layer, band, term, measure }) {
  const [lam, shown] = [study.eigenvalues[epoch][layer][band], measure === "residual" ? "e" : "T"];
  const found = readings.map((one) => `${one.name} ${short(one[shown])}`).join(", ");
  return `Band ${band + 1} of ${study.bands} of ${layer}, ${networkWords(epoch)}, λ about ${
    format(lam)}: ${shown} of the ${TERMS[term]} is ${found}.`;
}

function weightWords(readings) {
  const found = readings.filter(({ c }) => c !== undefined);
  const words = found.map(({ name, c, r2 }) => `${name} c ${short(c)}, R² ${short(r2)}`);
  return words.length ? `In the chosen band: ${words.join("; ")}.` : "None of those chosen has one here.";
}

/** What has no line in the lower drawing, or one that is not to be trusted, and why. */
function remarks(study, readings, { view }) {
  const named = (holds) => listed(readings.slice(1).filter(holds).map(({ name }) => name));
  const descends = ({ name }) => Object.keys(study.gradients[name]).length > 0;
  const still = named((one) => !descends(one));
  const unseen = named((one) => descends(one) && one.c === undefined);
  const faint = named(({ weights, faint: little }) => little && weights.length);
  const plain = named((one) => one.plain);
  return [
    still && `No descent, and so no gradient: ${still}.`,
    unseen && `No look at its gradient through these networks: ${unseen}.`,
    faint && `Faint: bands explain less than ${
      Math.round(100 * study.least)} % of what cross-entropy leaves of the gradient of ${faint}.`,
    view === "own" && plain && `Sees images as they are: ${plain}.`,
  ].filter(Boolean).join(" ");
}

/** How many seeds means are of, and what is shaded. */
function seedWords(study, names) {
  const counts = names.map((name) => study.seeds[name]);
  const [low, high] = [Math.min(...counts), Math.max(...counts)];
  return high === 1 ? "one seed" : `means of ${low === high ? low : `${low} to ${high}`} seeds, shaded ± 1 std`;
}

// ---- controls

/** Methods to choose from, what of them is shown, and the band. */
function matchingControls(model, study) {
  const words = { epoch: study.epochs.map((v) => [v, networkWords(v)]), layer: study.layers, view: VIEWS,
    measure: MEASURES, term: study.terms.map((v) => [v, TERMS[v]]), at: study.places.map((v) => [v, placeWords(v)]) };
  const labels = { epoch: "Network", layer: "Layer", term: "Statistic", view: "Images", measure: "Measure",
    at: "Descent" };
  const controls = Object.fromEntries(Object.entries(labels).map(([name, label]) =>
    [name, select(label, words[name], setter(model, name))]));
  const style = styleIn(study);
  const picks = chips(`Methods, up to ${MOST}, beside ${study.reference} real images`,
    study.methods.map((name) => ({ name, label: name, style: style(name) })), setter(model, "methods"));
  const boxes = [...picks.node.querySelectorAll("input")];
  const band = slider("Band", { min: 1, max: study.bands, step: 1,
    hint: "bands are counted from the largest eigenvalues, the low frequencies",
    show: () => `${model.get("band") + 1} of ${study.bands}${bandWords(model.get("band"), study.bands)}` },
  (v) => change(model, { band: v - 1 }));
  const update = () => {
    const chosen = model.get("methods");
    Object.entries(controls).forEach(([name, control]) => control.set(model.get(name)));
    controls.at.node.hidden = !study.places.length;
    picks.set(chosen);
    boxes.forEach((box) => { box.disabled = !box.checked && chosen.length >= MOST; });
    band.set(model.get("band") + 1);
  };
  const choices = h("div", { class: "ux-choices" }, ...Object.values(controls).map(({ node }) => node));
  return { picks: picks.node, choices, band: band.node, update };
}

const bandWords = (band, bands) =>
  (band === 0 ? ", low frequencies" : band === bands - 1 ? ", high frequencies" : "");

// ---- drawings

/** The axis of λ of a layer's bands: the place of each, where one ends and the next begins, and which is at a place. */
function bandAxis(study, { epoch, layer, band }, width) {
  const eigenvalues = study.eigenvalues[epoch][layer];
  const logs = eigenvalues.map(Math.log10);
  const [low, high] = [Math.min(...logs) - 0.45, Math.max(...logs) + 0.45];
  const { across } = frame(width, { least: 0, most: 0, share: 0 });
  const lambda = logAxis([low, high], across);
  const cuts = [across[1], ...logs.slice(1).map((v, i) => lambda.at(10 ** ((v + logs[i]) / 2))), across[0]];
  const bandAt = (x) => Math.max(0, Math.min(logs.length, cuts.filter((cut) => cut > x).length) - 1);
  return { width, eigenvalues, lambda, places: eigenvalues.map(lambda.at), cuts, bandAt, band };
}

/** The shade of the chosen band between two heights. */
const bandShade = ({ cuts, band }, { top, bottom }) => h("svg:rect", { class: "ux-window", x: cuts[band + 1], y: top,
  width: cuts[band] - cuts[band + 1], height: bottom - top });

const beads = (style, points) =>
  points.map(([cx, cy]) => h("svg:circle", { class: `ux-band ux-${style}`, cx, cy, r: 3 }));

/** Level lines of a logarithmic axis: powers of ten, or 1, 2, 5 of each where few of them are there. */
function logLevels(axis, [low, high]) {
  if (high - low > 1.5) return axis.decades(high - low > 4 ? 2 : 1);
  const powers = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, i) => Math.floor(low) + i);
  return powers.flatMap((k) => [1, 2, 5].map((v) => v * 10 ** k)).filter(axis.holds)
    .map((v) => [axis.at(v), format(v)]);
}

/** What the upper drawing is of, and what 1 means in it. */
function unmatchedWords({ measure, term }, wide) {
  const one = term === "filter" ? "none, or twice, of the real power" : "one standard deviation of features";
  return measure === "residual" ? `${wide ? "left unmatched, " : ""}e(λ); 1: ${one}`
    : `1 − T(λ)${wide ? ", e over that of the start" : ""}; 1: as at the start`;
}

/** e, or 1 − T, over the λ of bands, both in decades, and the numbers of the bands. */
function drawUnmatched(drawing, readings, choice, axis, style) {
  const box = frame(axis.width, { top: 24, least: 100, most: 190, share: 0.28 });
  const edge = ({ mean, std }, sign) => mean.map((v, i) => Math.max(v + sign * (std[i] ?? 0), v / 3));
  const curves = readings.map((one) => ({ look: style(one.name), ...one[choice.measure] }));
  const values = curves.flatMap((c) => [...edge(c, -1), ...edge(c, 1)]).filter((v) => v > 0);
  const logs = [1, ...values].map(Math.log10);
  const limits = [Math.min(...logs) - 0.1, Math.max(...logs) + 0.1];
  const Y = logAxis(limits, box.up);
  const points = (of) => of.map((v, i) => [axis.places[i], Y.at(v)]);
  const spread = (c) => area(`ux-spread ux-${c.look}`, [...points(edge(c, 1)), ...points(edge(c, -1)).reverse()]);
  draw(drawing, axis.width, box.bottom + 17, [
    bandShade(axis, box),
    text(0, 12, unmatchedWords(choice, axis.width > 380)),
    ...rungs(logLevels(Y, limits), [box.across], Y.at(1)),
    ...curves.filter(({ std }) => std.length).map(spread),
    ...curves.flatMap(({ look, mean }) => [line(look, points(mean)), ...beads(look, points(mean))]),
    rule("zero", box.bottom, box.across),
    ...axis.places.map((x, i) => centred(x, box.bottom + 14, i === axis.band ? `band ${i + 1}` : String(i + 1))),
  ]);
}

/** Weights of bands in the methods' gradients, over the same axis, from 0 to their largest. */
function drawWeights(drawing, readings, choice, axis, style) {
  const box = frame(axis.width, { top: 24, least: 62, most: 130, share: 0.18 });
  const Y = scale([0, 1.06], box.up);
  const words = ["← high frequency", box.wide ? "eigenvalue λ" : "λ", "low frequency →"];
  const seen = readings.filter(({ weights }) => weights.length);
  draw(drawing, axis.width, box.bottom + 37, [
    bandShade(axis, box),
    text(0, 12, "effective filter: c(λ), over its largest"),
    ...rungs([[Y(0), "0"], [Y(0.5), "½"], [Y(1), "1"]], [box.across], Y(0)),
    ...(seen.length ? [] : [centred((box.left + box.right) / 2, Y(0.45), "no gradient has a band of this layer")]),
    ...seen.flatMap(({ name, weights, faint }) => {
      const look = `${style(name)}${faint ? " ux-faint" : ""}`;
      const points = weights.map((c, i) => [axis.places[i], Y(c)]);
      return [line(look, points), ...beads(look, points)];
    }),
    ...ticks(axis.lambda.decades(), box.bottom),
    ...ends(box.bottom + 33, box.across, ...words),
  ]);
}

// ---- the table, with the images

/** A row for each method: its numbers in the band, its images, and what of them lies in the band. */
function matchingTable(model, study) {
  const cell = (tag, attributes, ...children) => h(tag, { role: "cell", ...attributes }, ...children);
  const column = (words, attributes) => h("th", { role: "columnheader", scope: "col", ...attributes }, words);
  const [images, filtered] = ["images", ""].map((words) => column(words, { class: "ux-tiles" }));
  const [caption, body] = [h("caption"), h("tbody", { role: "rowgroup" })];
  const head = h("tr", { role: "row" }, ...HEADS.map(([words, title]) => column(words, { title })), images, filtered);
  const node = h("table", { role: "table", class: "ux-readout ux-matched" }, caption,
    h("thead", { role: "rowgroup" }, head), body);
  const strips = new Map();
  const style = styleIn(study);
  const of = (name) => {
    if (!strips.has(name)) strips.set(name, [tileRow(model, name), tileRow(model, name)]);
    return strips.get(name);
  };
  const rowOf = ({ name, e, T, c, r2, bands, weights }, { layer, band }) => {
    const start = model.get("pictured").indexOf(layer);
    const fixed = [weights.length || c === undefined ? c : "none", r2, bands].map((v) => v?.toFixed?.(2) ?? v ?? "–");
    const numbers = [short(e), short(T), ...fixed].map((v) => cell("td", {}, v));
    const pair = !model.get("sheets")[name] ? [] : of(name).map((strip, i) => {
      strip.show(i && 1 + start * study.bands + band, i ? `filtered to band ${band + 1} of ${layer}` : "");
      return cell("td", { class: "ux-tiles" }, i && start < 0 ? "" : strip.node);
    });
    const first = h("th", { role: "rowheader", scope: "row" }, sample(style(name)), name);
    return h("tr", { role: "row" }, first, ...numbers, ...pair);
  };
  const update = (readings, choice) => {
    const { epoch, layer, band } = choice;
    const without = !readings.some(({ name }) => model.get("sheets")[name]);
    node.classList.toggle("ux-bare", without);
    [images.hidden, filtered.hidden] = [without, without];
    filtered.textContent = `in band ${band + 1}`;
    caption.textContent = `Band ${band + 1} of ${study.bands} of ${layer}, λ about ${
      format(study.eigenvalues[epoch][layer][band])}, ${networkWords(epoch)}: ${
      seedWords(study, readings.map(({ name }) => name))}`;
    body.replaceChildren(...readings.map((one) => rowOf(one, choice)));
  };
  return { node, update };
}

/** A window on one row of a method's sheet; `show` takes the number of the row and what it is. */
function tileRow(model, name) {
  const { width, height, tile, gap } = model.get("shape");
  const image = sheet([width, height], model.get("sheets")[name]);
  const node = h("div", { class: "ux-picture" },
    h("div", { class: "ux-strip", style: `aspect-ratio: ${width} / ${tile}` }, image));
  const show = (row, words) => {
    image.style.transform = `translateY(${(-100 * row * (tile + gap)) / height}%)`;
    image.alt = [`Images of ${name}`, words].filter(Boolean).join(", ") + model.get("names");
  };
  return { node, show };
}
