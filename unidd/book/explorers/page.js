// The place of an explorer on the page: in step with its model, with the page's width and with the address.

import { copied, sharedState } from "./links.js";
import { h } from "./parts.js";
import { CSS } from "./style.js";

const QUIET = 400; // milliseconds without a change after which a state is announced and put into the address

/** Set some traits of the model, and let the kernel know if there is one. */
export function change(model, values) {
  Object.entries(values).forEach(([name, value]) => model.set(name, value));
  model.save_changes();
}

/** What sets one trait, for a control. */
export const setter = (model, name) => (value) => change(model, { [name]: value });

const COLUMN = 208; // the left column, the gap after it, and the room that two columns need: as in style.js
const GAP = 20;
const ROOM = 560;

/** How wide the left, and the right, column of a deck is in a room of that width. */
export const leftOf = (room) => (room >= ROOM ? COLUMN : room);
export const rightOf = (room) => (room >= ROOM ? room - COLUMN - GAP : room);

/** What an explorer is made of, in two columns where there is room: controls, left, beside what they change, right. */
export function deck(parts) {
  const slots = Object.entries(parts).map(([slot, nodes]) =>
    h("div", { class: `ux-slot ux-${slot}` }, ...[nodes].flat()));
  return h("div", { class: "ux-deck" }, ...slots);
}

/**
 * Put an explorer on the page and keep it in step: `update` runs when one of the model's traits in `fields` changes,
 * and when the width does; it returns a sentence, which a screen reader hears at the end of a drag and not at each step
 * of it. `fields` says what each trait may be in an address, null for one that is not shared; `tools` stand beside the
 * buttons below; `reset` runs before all is again as it opened. Gives a function that takes the explorer off the page
 * again, with `redraw` for what no trait tells.
 */
export function mount({ model, el }, fields, children, update, { tools = [], reset } = {}) {
  const live = h("p", { class: "ux-hidden", "aria-live": "polite" });
  const share = sharedState(model, el, fields);
  const begin = () => { reset?.(); change(model, share.opened); redraw(); };
  el.replaceChildren(h("style", {}, CSS),
    h("div", { class: "ux" }, ...children, toolbar(share, tools, begin, live), live));
  const seen = new Map();
  let quiet;
  const redraw = () => {
    const sentence = update(seen.get(el) ?? roomIn(el));
    clearTimeout(quiet);
    quiet = setTimeout(() => { live.textContent = sentence; share.write(); }, QUIET);
  };
  const observer = new ResizeObserver(() => {
    if (roomIn(el) === seen.get(el)) return; // a redraw changes the height, which must not start another
    seen.set(el, roomIn(el));
    redraw();
  });
  const changed = together(redraw);
  const moved = () => change(model, share.read());
  Object.keys(fields).forEach((name) => model.on(`change:${name}`, changed));
  addEventListener("hashchange", moved);
  moved();
  observer.observe(el);
  redraw();
  // once the explorers that follow are drawn too, and the page is as long as it will be
  if (share.place && share.first()) requestAnimationFrame(() => el.scrollIntoView());
  const unmount = () => {
    observer.disconnect();
    clearTimeout(quiet);
    removeEventListener("hashchange", moved);
    Object.keys(fields).forEach((name) => model.off(`change:${name}`, changed));
  };
  return Object.assign(unmount, { redraw });
}

/** What is left within the card's padding and border; a page that is not laid out yet has no width. */
const roomIn = (el) => (el.clientWidth ? Math.max(240, el.clientWidth - 34) : 650);

/** Runs `act` once for several calls in a row, as when several traits change together. */
function together(act) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    queueMicrotask(() => { waiting = false; act(); });
  };
}

/** The buttons below every explorer: those of its own, one that begins anew, one that copies a link to what is seen. */
function toolbar(share, tools, begin, live) {
  const [anew, copy] = ["Reset", "Copy link"].map((label) => h("button", { type: "button" }, label));
  anew.addEventListener("click", begin);
  copy.addEventListener("click", async () => {
    const done = await copied(share.link());
    live.textContent = done ? "The link is copied." : "The address bar has the link.";
    copy.textContent = done ? "Copied" : "See address bar";
    setTimeout(() => { copy.textContent = "Copy link"; }, 2000);
  });
  copy.hidden = !share.place;
  return h("div", { class: "ux-row ux-tools" }, ...tools, anew, copy);
}
