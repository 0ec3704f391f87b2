// Draws what a notebook left in the page: explorers without a kernel, and a figure again by plotly if a reader wants to
// zoom and read values. A classic script, as are those it calls (explorer.js, plotly.min.js): browsers load no module
// from the disk.
"use strict";
{
  const plotlyAddress = document.currentScript.src.replace(/unidd-book\.js.*$/, "plotly.min.js");

  /** The JSON that follows an element, put there by unidd.book.sphinx. */
  const dataOf = (element) => JSON.parse(element.nextElementSibling.textContent);

  /** The part of anywidget's model that explorers use; the state lives in the page. */
  const pageModel = (state) => {
    const listeners = new Map();
    const of = (event) => listeners.get(event) ?? listeners.set(event, new Set()).get(event);
    return {
      get: (name) => state[name],
      set: (name, value) => {
        state[name] = value;
        of(`change:${name}`).forEach((listener) => listener());
      },
      save_changes: () => {},
      on: (event, listener) => of(event).add(listener),
      off: (event, listener) => of(event).delete(listener),
    };
  };

  /** Colours of the page's theme, as plotly layout entries for every axis the figure has. */
  const themed = (layout) => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const [text, muted, edge] = ["text-base", "text-muted", "border"].map((name) => colour(`--pst-color-${name}`));
    const change = {
      "font.color": text, "hoverlabel.bgcolor": colour("--pst-color-surface"), "hoverlabel.font.color": text,
      "hoverlabel.bordercolor": edge,
    };
    for (const axis of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      Object.assign(change, {
        [`${axis}.gridcolor`]: edge, [`${axis}.linecolor`]: muted, [`${axis}.zerolinecolor`]: edge,
        [`${axis}.tickcolor`]: muted,
      });
    }
    return change;
  };

  let plotlyLoads = null;
  const loadPlotly = () => {
    plotlyLoads ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      Object.assign(script, { src: plotlyAddress, onload: resolve, onerror: reject });
      document.head.append(script);
    });
    return plotlyLoads;
  };

  const opened = [];
  const recolour = () => opened.forEach((place) => Plotly.relayout(place, themed(place.layout)));

  /** Plotly in the place of a figure's drawing, with the keyboard's focus. */
  const openFigure = async (element) => {
    const button = element.querySelector(".unidd-open");
    button.disabled = true;
    await loadPlotly();
    const { data, layout } = dataOf(element);
    const place = document.createElement("div");
    place.tabIndex = -1;
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", layout.meta.alt);
    element.classList.add("unidd-opened");
    button.replaceWith(place);
    await Plotly.newPlot(place, data, { ...layout, autosize: true }, { responsive: true, displayModeBar: true });
    opened.push(place);
    recolour();
    place.focus();
  };

  for (const element of document.querySelectorAll(".unidd-explorer-host")) {
    unidd.default.render({ model: pageModel(dataOf(element)), el: element });
  }
  for (const button of document.querySelectorAll(".unidd-open")) {
    button.addEventListener("click", () => openFigure(button.parentElement));
  }
  const theme = { attributes: true, attributeFilter: ["data-theme"] };
  new MutationObserver(recolour).observe(document.documentElement, theme);
  // Explorers draw their charts in the next frame; then their places need no height of their own, and tests may look.
  requestAnimationFrame(() => requestAnimationFrame(() => { document.documentElement.dataset.unidd = "ready"; }));
}
