// All results in one table: filters, columns that sort it, and rows that open to a card with images and a spectrum.

import { flag, oneOf } from "./links.js";
import { change, mount, setter } from "./page.js";
import { chart, draw, ends, frame, h, line, logAxis, rungs, scale, select, sheet, text } from "./parts.js";

// Name, head, what it says at length, whether numbers stand in it.
const RESULT_COLUMNS = [
  ["method", "Method"], ["data", "Data"], ["student", "Student", "architecture of the students"], ["regime", "Labels"],
  ["ipc", "IPC", "images per class", true],
  ["mean", "Accuracy, %", "test accuracy, mean ± std, of n repetitions", true],
  ["gain", "Over random [95 %]", "points over random real images, paired, with the 95 % interval", true],
  ["bytes", "Bytes", "of the images at 8 bits and the labels of that regime", true],
  ["seconds", "Seconds", "of a distillation", true],
];
const ROLES = { method: "methods", coreset: "coresets", baseline: "random real images", ceiling: "all real images" };
const MARKS = { better: "▲ ", worse: "▼ " };
const FIRST = 50; // rows seen until all are asked for: with several hundred, a change would take longer than a frame
const CHOSEN = ["data", "regime", "ipc", "role", "most", "sort", "down"];

const ipcOf = (row) => (row.ipc === null ? "all" : String(row.ipc));
const signedPoint = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
const several = (values) => [...new Set(values)];

/** The rows that pass the filters, in order: what is not known comes last, whichever way they are sorted. */
export function rowsShown(rows, { data, regime, ipc, role, most, sort, down }) {
  const same = (wanted, value) => !wanted || value === wanted;
  const passes = (row) => same(data, row.data) && same(regime, row.regime) && same(role, row.role)
    && (!ipc || ipcOf(row) === ipc) && (!most || (row.bytes !== null && row.bytes <= most));
  const found = rows.filter(passes);
  if (!sort) return found;
  const of = (row) => (sort === "ipc" ? row.ipc ?? Infinity : row[sort]);
  const order = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en") : Math.sign(a - b) || 0);
  const known = found.filter((row) => of(row) !== null);
  known.sort((a, b) => (down ? -1 : 1) * order(of(a), of(b)));
  return [...known, ...found.filter((row) => of(row) === null)];
}

export function renderResults({ model, el }) {
  const choice = () => Object.fromEntries(CHOSEN.map((name) => [name, model.get(name)]));
  const controls = resultControls(model);
  const count = h("p", { class: "ux-note" });
  const table = resultTable(model, el.classList.contains("unidd-explorer-host"));
  const update = () => {
    controls.update();
    const shown = rowsShown(model.get("rows"), choice());
    table.update(shown, choice());
    const said = `${shown.length} of ${model.get("rows").length} rows${orderWords(choice())}.`;
    count.textContent = `${said} ▲ better, ▼ worse than random real images.${studentWords(model)}`;
    return said;
  };
  return mount({ model, el }, fieldsOfResults(model), [controls.node, count, ...table.nodes], update,
    { reset: table.reset });
}

/** The students of all rows, if they are the same: they have no column then. */
const studentsOf = (model) => several(model.get("rows").map((row) => row.student));
const studentWords = (model) => (studentsOf(model).length > 1 ? "" : ` Students: ${studentsOf(model)[0]}.`);
const columnsOf = (model) => RESULT_COLUMNS.filter(([name]) => name !== "student" || studentsOf(model).length > 1);

/** How rows are sorted, in words; nothing where they are not. */
function orderWords({ sort, down }) {
  const column = RESULT_COLUMNS.find(([name]) => name === sort);
  if (!column) return "";
  const [first, last] = column[3] ? ["smallest first", "largest first"] : ["A to Z", "Z to A"];
  return `, by ${column[1].split(/[,[]/)[0].trim().toLowerCase()}, ${down ? last : first}`;
}

/** What a link may say. */
function fieldsOfResults(model) {
  const rows = model.get("rows");
  const values = (of) => oneOf(["", ...several(rows.map(of))]);
  const limit = { read: Number, good: (v) => v === 0 || model.get("limits").includes(v) };
  return {
    data: values((row) => row.data), regime: values((row) => row.regime), ipc: values(ipcOf),
    role: values((row) => row.role), most: limit, down: flag,
    sort: oneOf(["", ...RESULT_COLUMNS.map(([name]) => name)]),
    row: values((row) => row.key),
  };
}

// ---- controls

function resultControls(model) {
  const rows = model.get("rows");
  const all = (of, words = (v) => v) => [["", "all"], ...several(rows.map(of)).map((v) => [v, words(v)])];
  const ipcs = several(rows.map(ipcOf)).sort((a, b) => (a === "all") - (b === "all") || a - b);
  const offered = {
    data: ["Data set", all((row) => row.data)], regime: ["Labels", all((row) => row.regime)],
    ipc: ["IPC", [["", "any"], ...ipcs.map((v) => [v, v === "all" ? "all images" : v])]],
    role: ["What", all((row) => row.role, (v) => ROLES[v])],
    most: ["Size", [["0", "any"], ...model.get("limits").map((v) => [String(v), `up to ${bytesWords(v)}`])]],
  };
  const controls = Object.entries(offered).map(([name, [label, options]]) =>
    [name, select(label, options, name === "most" ? (v) => change(model, { most: Number(v) }) : setter(model, name))]);
  const update = () => controls.forEach(([name, control]) => control.set(String(model.get(name))));
  return { node: h("div", { class: "ux-row ux-filters" }, ...controls.map(([, { node }]) => node)), update };
}

function bytesWords(value) {
  if (value === null) return "–";
  const power = Math.min(3, Math.floor(Math.log10(value) / 3));
  const part = value / 1000 ** power;
  return `${part.toFixed(power && part < 9.95 ? 1 : 0).replace(/\.0$/, "")} ${["B", "kB", "MB", "GB"][power]}`;
}

// ---- the table

/**
 * A table whose heads sort it, and a button for the rows that are not seen yet; rows are made once, and moved only when
 * there are others or in another order.
 */
function resultTable(model, hosted) {
  const columns = columnsOf(model);
  const heads = columns.map((column) => sortHead(model, column));
  const body = h("tbody");
  const rows = new Map();
  const wide = columns.length;
  const rowFor = (row) => {
    if (!rows.has(row.key)) rows.set(row.key, resultRow(model, row, columns, hosted));
    return rows.get(row.key);
  };
  const more = h("button", { type: "button", class: "ux-more" });
  let [full, before, last] = [false, "", []];
  const update = (found, { sort, down }) => {
    last = [found, { sort, down }];
    heads.forEach(({ update: mark }) => mark(sort, down));
    const opened = found.findIndex(({ key }) => key === model.get("row"));
    const shown = full ? found : found.slice(0, Math.max(FIRST, opened + 1));
    const order = shown.map(({ key }) => key).join("\n");
    if (order !== before) body.replaceChildren(...shown.flatMap((row) => rowFor(row).nodes()));
    before = order;
    shown.forEach((row) => rowFor(row).update(model.get("row") === row.key));
    if (!shown.length) body.replaceChildren(h("tr", {}, h("td", { colspan: wide }, "No row passes these filters.")));
    more.hidden = shown.length === found.length;
    more.textContent = `Show all ${found.length} rows`;
  };
  more.addEventListener("click", () => {
    const first = body.rows.length;
    full = true;
    update(...last);
    body.rows[first].querySelector("button").focus();
  });
  const table = h("table", { class: "ux-readout ux-results" }, h("caption", { class: "ux-hidden" }, "All results"),
    h("thead", {}, h("tr", {}, ...heads.map(({ node }) => node))), body);
  const node = h("div", { class: "ux-scroll", role: "region", tabindex: 0, "aria-label": "All results" }, table);
  return { nodes: [node, more], update, reset: () => { full = false; } };
}

/** The head of a column: a button that sorts by it, numbers from the largest at first, or the other way round. */
function sortHead(model, [name, words, hint, numbers = false]) {
  const arrow = h("span", { "aria-hidden": "true" });
  const button = h("button", { type: "button", class: "ux-sort", title: hint }, words, arrow);
  button.addEventListener("click", () => {
    const again = model.get("sort") === name;
    change(model, { sort: name, down: again ? !model.get("down") : numbers });
  });
  const node = h("th", { scope: "col", class: numbers ? "ux-number" : "" }, button);
  const update = (sort, down) => {
    node.setAttribute("aria-sort", sort !== name ? "none" : down ? "descending" : "ascending");
    arrow.textContent = sort !== name ? "" : down ? " ↓" : " ↑";
  };
  return { node, update };
}

function gainWords({ gain, low, high, side }) {
  if (gain === null) return "–";
  const interval = low === null ? "" : ` [${signedPoint(low)}, ${signedPoint(high)}]`;
  return `${MARKS[side] ?? ""}${signedPoint(gain)}${interval}`;
}

/** A row, and the row below it with its card, which is made when it opens first. */
function resultRow(model, row, columns, hosted) {
  const about = model.get("methods")[row.method];
  const place = `ux-card-${row.key.replace(/[^\w]+/g, "-")}`;
  const button = h("button", { type: "button", class: "ux-opener" },
    h("span", { "aria-hidden": "true" }, "▸"), about?.label ?? row.method);
  const cells = {
    data: row.data, student: row.student, regime: row.regime, ipc: ipcOf(row),
    mean: `${row.mean.toFixed(1)}${row.std === null ? "" : ` ± ${row.std.toFixed(1)}`} (${row.n})`,
    gain: gainWords(row), bytes: bytesWords(row.bytes), seconds: row.seconds === null ? "–" : String(row.seconds),
  };
  const upper = h("tr", { class: "ux-result" }, h("th", { scope: "row" }, button),
    ...columns.slice(1).map(([name, , , numbers]) =>
      h("td", { class: numbers ? "ux-number" : "" }, cells[name])));
  upper.addEventListener("click", () => change(model, { row: model.get("row") === row.key ? "" : row.key }));
  let lower;
  const update = (open) => {
    if (open && !lower) {
      const cell = h("td", { colspan: columns.length }, resultCard(model, row, about, hosted));
      lower = h("tr", { id: place, class: "ux-carded" }, cell);
      upper.after(lower);
      button.setAttribute("aria-controls", place);
    }
    if (lower) lower.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
  };
  return { nodes: () => (lower ? [upper, lower] : [upper]), update };
}

// ---- the card

function resultCard(model, row, about, hosted) {
  const values = `${row.values.map((v) => v.toFixed(1)).join(", ")} %`;
  const said = about ? [["Method", about.summary], ["Source", about.source], ["Filter", about.filter],
    ["Stores labels", about.labels]] : [];
  const pairs = [["Each repetition", values], ...said, ...model.get("cards")[row.card]];
  const list = h("dl", {}, ...pairs.filter(([, words]) => words !== "none").map(([what, words]) =>
    h("div", {}, h("dt", {}, what), h("dd", {}, /^https:/.test(words) ? h("a", { href: words }, words) : words))));
  const link = h("a", { href: about?.page }, `${about?.label} in the reference`);
  const looks = h("div", { class: "ux-looks" }, ...resultLooks(model, row, about),
    about && hosted ? h("p", { class: "ux-note" }, link) : null);
  return h("div", { class: "ux-carding" }, list, looks);
}

/** Images and spectrum of a row's method on these data at this IPC, if they are stored. */
function resultLooks(model, row, about) {
  const of = (method) => model.get("looks")[`${row.data}/${ipcOf(row)}/${method}`];
  const own = of(row.method);
  if (!own) return [h("p", { class: "ux-note" }, "No images stored.")];
  const name = about?.label ?? row.method;
  const image = own.picture && sheet([320, 32], own.picture);
  if (image) image.alt = `Images of ${name}, one of each class`;
  const drawing = chart();
  spectrumDrawing(drawing, own.spectrum, row.method === "random" ? null : of("random")?.spectrum, name);
  return [image && h("div", { class: "ux-picture ux-wide" }, image), drawing,
    h("p", { class: "ux-note" }, "One image of each class, and the share of an image's power over frequency, " +
      "from the study of the deep methods: other repetitions than those of this row.")];
}

function spectrumDrawing(drawing, own, random, name) {
  const width = 300;
  const box = frame(width, { top: 22, least: 90, most: 90, share: 0.3 });
  const logs = [...own, ...(random ?? [])].filter((v) => v > 0).map(Math.log10);
  const limits = [Math.min(...logs) - 0.1, Math.max(...logs) + 0.1];
  const Y = logAxis(limits, box.up);
  const X = scale([1, own.length], box.across);
  const points = (values) => values.map((v, i) => [X(i + 1), Y.at(v)]);
  draw(drawing, width, box.bottom + 18, [
    text(0, 12, random ? `${name}, and random real images (dotted)` : "share of an image's power"),
    ...rungs(Y.decades(), [box.across]),
    ...(random ? [line("allpass", points(random))] : []), line("own", points(own)),
    ...ends(box.bottom + 14, box.across, "coarse", "frequency", "fine"),
  ]);
  drawing.setAttribute("aria-label", `Share of an image's power over frequency, ${name}.`);
}
