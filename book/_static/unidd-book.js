// Draws what a notebook left in the page: plotly figures, and explorers without a kernel. A classic script, as are those
// it calls (plotly.min.js, explorer.js): browsers load no module from the disk.
"use strict";
{
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

  /** Height of a picture that keeps its shape, beside its row labels, in the width there is. */
  const pictureHeight = (element, { meta, height }) => {
    if (!meta?.picture) return height;
    const [wide, high] = meta.picture;
    const labels = element.querySelector(".yaxislayer-above")?.getBoundingClientRect().width ?? 0;
    return Math.round(Math.min(high, (high / wide) * (element.clientWidth - labels - 24))) + 16;
  };

  const drawFigure = async (element) => {
    const { data, layout } = dataOf(element);
    const fit = () => {
      const height = pictureHeight(element, layout);
      if (Math.abs(height - element.clientHeight) < 2) return;
      element.style.height = `${height}px`;
      Plotly.relayout(element, { height });
    };
    await Plotly.newPlot(element, data, { ...layout, autosize: true }, { responsive: true, displayModeBar: false });
    new ResizeObserver(fit).observe(element);
  };

  const drawAll = async () => {
    for (const element of document.querySelectorAll(".unidd-explorer-host")) {
      unidd.default.render({ model: pageModel(dataOf(element)), el: element });
    }
    // The theme may choose its mode while figures are drawn, or when the reader says so.
    const drawn = [];
    const recolour = () => Promise.all(drawn.map((element) => Plotly.relayout(element, themed(element.layout))));
    const theme = { attributes: true, attributeFilter: ["data-theme"] };
    new MutationObserver(recolour).observe(document.documentElement, theme);
    for (const element of document.querySelectorAll(".unidd-plotly")) {
      await drawFigure(element);
      drawn.push(element);
    }
    await recolour();
    document.documentElement.dataset.unidd = "ready"; // for tests: everything on the page is drawn
  };

  drawAll();
}
