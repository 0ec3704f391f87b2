// The state of explorers in the page's address, `#band-1.first=3&band-1.mode=drop`: a link shows what its sender saw.

const LIST = "~"; // between the members of a list

const between = (low, high) => (v) => v >= low && v <= high; // NaN lies nowhere

// What a trait may be when an address says it: how to read it, and whether it can be shown.
export const numeric = (low, high) => ({ read: Number, good: between(low, high) });
export const whole = (low, high) => ({ read: Number, good: (v) => Number.isInteger(v) && between(low, high)(v) });
export const flag = { read: (written) => written === "true", good: () => true };
export const oneOf = (known) => ({ read: String, good: (v) => known.includes(v) });
export const someOf = (known) => ({
  read: (written) => written.split(LIST).filter(Boolean), good: (v) => v.every((one) => known.includes(one)),
});
export const wholes = (length, low, high) => ({
  read: (written) => written.split(LIST).map(Number),
  good: (v) => v.length === length && v.every((one) => Number.isInteger(one) && between(low, high)(one)),
});

const written = (value) => (Array.isArray(value) ? value.join(LIST) : String(value));
const entries = () => new URLSearchParams(location.hash.slice(1));

/** The name of an explorer in the address, as "band-1": its kind, and its number on the page. None in a notebook. */
function placeOf(el, kind) {
  if (!el.classList.contains("unidd-explorer-host")) return null;
  el.dataset.ux ??= `${kind}-${document.querySelectorAll(`[data-ux^="${kind}-"]`).length + 1}`;
  return el.dataset.ux;
}

/**
 * The shareable traits of an explorer: `fields` gives each one's name and what it may be. `read` takes values from the
 * address, `write` puts there what is no longer as it opened, `link` is an address with this explorer's state alone.
 */
export function sharedState(model, el, fields) {
  const place = placeOf(el, model.get("kind"));
  const names = Object.keys(fields).filter((name) => fields[name]);
  const opened = Object.fromEntries(names.map((name) => [name, model.get(name)]));
  const own = (key) => key.startsWith(`${place}.`);
  const changed = () => names.filter((name) => written(model.get(name)) !== written(opened[name]))
    .map((name) => [`${place}.${name}`, written(model.get(name))]);
  const read = () => {
    if (!place) return {};
    const given = entries();
    return Object.fromEntries(names.filter((name) => given.has(`${place}.${name}`))
      .map((name) => [name, fields[name].read(given.get(`${place}.${name}`))])
      .filter(([name, value]) => fields[name].good(value)));
  };
  const write = () => {
    const [before, now] = [[...entries()], changed()];
    if (!place || (!now.length && !before.some(([key]) => own(key)))) return;
    const others = before.filter(([key]) => key.includes(".") && !own(key));
    const hash = new URLSearchParams([...others, ...now]).toString();
    history.replaceState(history.state, "", hash ? `#${hash}` : location.pathname + location.search);
  };
  const link = () => `${location.href.split("#")[0]}#${new URLSearchParams(changed())}`;
  return { place, opened, read, write, link, first: () => own([...entries().keys()][0] ?? "") };
}

/** Put a text on the clipboard, also where only the old way is open, as on a plain server; whether it is there. */
export async function copied(words) {
  try {
    await navigator.clipboard.writeText(words);
    return true;
  } catch {
    const field = document.createElement("textarea");
    field.value = words;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
