// Explorers of UniDD, 7 of 7: `render({model, el})` asks the model for its `kind` and hands over to that explorer.

const EXPLORERS = {
  filters: renderFilters, band: renderBand, images: renderImages, curriculum: renderCurriculum,
};

export default {
  render({ model, el }) {
    const explorer = EXPLORERS[model.get("kind")];
    if (!explorer) throw new Error(`no explorer of the kind "${model.get("kind")}"`);
    return explorer({ model, el });
  },
};
