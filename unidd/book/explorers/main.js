// The explorers: `render({model, el})` asks the model for its `kind` and hands over to that explorer. A browser runs
// these modules as they are; unidd/book/bundle.py makes one file of them.

import { renderBand } from "./bands.js";
import { renderCurriculum } from "./curriculum.js";
import { renderDigits } from "./digits.js";
import { renderFilters } from "./filters.js";
import { renderImages } from "./images.js";
import { renderMatching } from "./matching.js";
import { renderResults } from "./results.js";

// For tests, which compare the algebra with the Python package.
export { bandWeights, combine, decompose, highFrequencyShare, responses, stretched } from "./algebra.js";
export { bandPicture } from "./bands.js";
export { bandReadings } from "./matching.js";
export { rowsShown } from "./results.js";
export { pictureState } from "./photos.js";
export { beginRun, realSide, nearestAccuracy, ridgeAccuracy, adamStep, unpackDigits } from "./distilling.js";

const EXPLORERS = {
  filters: renderFilters, band: renderBand, images: renderImages, curriculum: renderCurriculum,
  digits: renderDigits, matching: renderMatching, results: renderResults,
};

export default {
  render({ model, el }) {
    const explorer = EXPLORERS[model.get("kind")];
    if (!explorer) throw new Error(`no explorer of the kind "${model.get("kind")}"`);
    return explorer({ model, el });
  },
};
