// The look of all explorers. Colours are the page's own where it has some: those of the book, or of JupyterLab. In the
// dark the book's theme frames and dims every picture, which would move the tiles of a sheet: hence !important.

export const CSS = `
.ux { --ux-text: var(--pst-color-text-base, var(--jp-ui-font-color1, currentColor));
  --ux-soft: var(--pst-color-text-muted, var(--jp-ui-font-color2, currentColor));
  --ux-card: var(--pst-color-background, transparent);
  --ux-edge: var(--pst-color-border, var(--jp-border-color2, #8886));
  --ux-allpass: #7d8794; --ux-linear: #d1700a; --ux-ridge: #1f78c8; --ux-landweber: #179a72; --ux-residual: #b84d92;
  --ux-bandpass: #8a6fd8; --ux-classification: #d5484a; --ux-hfm: #a08a00; --ux-real: var(--ux-soft);
  color: var(--ux-text); background: var(--ux-card); border: 1px solid var(--ux-edge); border-radius: 12px;
  padding: 16px; font-size: 14px; contain: layout style; line-height: 1.4; container-type: inline-size; }
.ux *, .ux { box-sizing: border-box; }
.ux-allpass { --c: var(--ux-allpass); --dash: 2 5; } .ux-linear { --c: var(--ux-linear); --dash: 10 5; }
.ux-ridge { --c: var(--ux-ridge); --dash: none; } .ux-landweber { --c: var(--ux-landweber); --dash: 7 4 1.5 4; }
.ux-residual { --c: var(--ux-residual); --dash: 14 5; } .ux-bandpass { --c: var(--ux-bandpass); --dash: 14 4 2 4; }
.ux-classification { --c: var(--ux-classification); --dash: 2 5; } .ux-hfm { --c: var(--ux-hfm); --dash: 14 5; }
.ux-real { --c: var(--ux-real); --dash: none; } .ux-own { --c: var(--ux-text); --dash: none; }
.ux-other { --c: var(--ux-text); --dash: 2 4; }
.ux-dash-solid { --dash: none; } .ux-dash-dash { --dash: 10 5; } .ux-dash-dot { --dash: 2 5; }
.ux-dash-dashdot { --dash: 7 4 1.5 4; } .ux-dash-longdash { --dash: 14 5; } .ux-dash-longdashdot { --dash: 14 4 2 4; }
.ux-deck { display: grid; gap: 10px 20px; }
.ux-slot { display: grid; gap: 8px; align-content: start; min-width: 0; } .ux-slot:empty { display: none; }
@container (min-width: 560px) {
  .ux-deck { grid-template: auto 1fr auto / 208px minmax(0, 1fr); }
  .ux-l1 { grid-area: 1 / 1; } .ux-l2 { grid-area: 2 / 1 / 4; }
  .ux-r1 { grid-area: 1 / 2 / 3; } .ux-r2 { grid-area: 3 / 2; }
  .ux-deck:not(:has(> .ux-r2)) > .ux-r1 { grid-area: 1 / 2 / 4; } }
.ux-row { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: end; }
.ux label, .ux legend { white-space: nowrap; color: var(--ux-soft); font-size: 13px; margin: 0; }
.ux-select { display: grid; gap: 4px; min-width: 0; }
.ux select { font: inherit; color: inherit; background: var(--ux-card); border: 1px solid var(--ux-edge);
  border-radius: 8px; padding: 4px 8px; min-height: 32px; max-width: 100%; min-width: 0; }
.ux option { color: #111; background: #fff; }
.ux-chips { display: flex; flex-wrap: wrap; gap: 6px; border: 0; margin: 0; padding: 0; min-width: 0; }
.ux-chips legend { padding: 0; margin-bottom: 4px; float: none; width: auto; }
.ux .ux-chip { display: inline-flex; align-items: center; gap: 5px; min-height: 32px; padding: 2px 8px;
  cursor: pointer; border: 1px solid var(--ux-edge); border-radius: 16px; }
.ux .ux-chip:has(:checked) { color: var(--ux-text); border-color: var(--c); }
.ux .ux-chip:not(:has(:checked)) .ux-sample { opacity: 0.35; }
.ux .ux-chip:has(:focus-visible), .ux select:focus-visible,
.ux input:is([type="range"], .ux-toggle input):focus-visible {
  outline: 2px solid var(--ux-ridge); outline-offset: 2px; }
.ux-chip input { position: absolute; opacity: 0; width: 1px; height: 1px; }
.ux-sample { width: 22px; height: 8px; flex: none; vertical-align: middle; margin-right: 2px; }
.ux-chart { display: block; width: 100%; height: auto; overflow: visible; }
.ux-chart text { fill: var(--ux-text); font-size: 12px; font-family: inherit; }
.ux-chart text.ux-soft { fill: var(--ux-soft); }
.ux-chart text.ux-mark { font-style: italic; font-size: 13px; }
.ux-line { fill: none; stroke: var(--c); stroke-width: 2.4; stroke-dasharray: var(--dash); stroke-linejoin: round; }
.ux-cut { fill: none; stroke: var(--c); stroke-width: 1; opacity: 0.7; }
.ux-line.ux-real { stroke-width: 5; opacity: 0.5; } .ux-line.ux-thin { stroke-width: 1.8; }
.ux-line.ux-twin { stroke-width: 1.2; }
.ux-swatch { display: inline-block; width: 26px; height: 10px; margin-right: 2px; background: var(--c); opacity: 0.25; }
.ux-band { fill: var(--c); } .ux-spread { fill: var(--c); opacity: 0.16; }
.ux-window { fill: var(--ux-ridge); opacity: 0.15; }
.ux-density { fill: var(--ux-soft); opacity: 0.17; }
.ux-rug { fill: none; stroke: var(--ux-soft); opacity: 0.55; }
.ux-grid { fill: none; stroke: var(--ux-edge); } .ux-zero { fill: none; stroke: var(--ux-soft); opacity: 0.7; }
.ux-pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(96px, 1fr)); gap: 8px 10px; }
.ux-pictures.ux-small { grid-template-columns: repeat(auto-fill, minmax(max(72px, 19%), 1fr)); }
.ux-picture { max-width: 260px; }
.ux .ux-picture :is(canvas, img) { display: block; width: 100%; height: auto; border-radius: 4px; margin: 0;
  background: none !important; padding: 0 !important; filter: none !important; }
.ux .ux-picture .ux-pixels { image-rendering: pixelated; }
.ux-caption { color: var(--ux-soft); font-size: 13px; margin-top: 4px; }
.ux-caption > span { margin-right: 12px; }
.ux [hidden] { display: none; }
.ux .ux-note { color: var(--ux-soft); font-size: 13px; margin: 0; }
.ux .ux-toggle { display: inline-flex; align-items: center; gap: 7px; min-height: 32px; cursor: pointer;
  color: var(--ux-text); align-self: end; }
.ux-toggle input { width: 16px; height: 16px; margin: 0; accent-color: var(--ux-ridge); }
.ux-sliders { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 190px), 1fr)); gap: 8px 24px;
  }
.ux-slider { display: grid; align-content: start; grid-template-columns: auto 1fr; gap: 2px 8px;
  align-items: baseline; }
.ux-slider input { grid-column: 1 / -1; grid-row: 2; width: 100%; min-height: 24px; margin: 0;
  accent-color: var(--ux-ridge); }
.ux-slider output { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; font-size: 13px; }
.ux-slider:has(:disabled) { opacity: 0.45; }
.ux table.ux-readout { width: 100%; margin: 0; border-collapse: collapse; font-variant-numeric: tabular-nums;
  font-size: 13px; color: inherit; background: none; }
.ux-readout caption { caption-side: top; text-align: left; color: var(--ux-soft); font-size: 13px; padding: 4px 0; }
.ux .ux-readout th, .ux .ux-readout td { padding: 3px 8px 3px 0; text-align: right; border: 0; font-weight: normal;
  background: none; }
.ux-l2 .ux-readout td { white-space: nowrap; } .ux-l2 .ux-readout tbody th { font-size: 12px; }
.ux .ux-l2 .ux-readout :is(td, th) { padding-right: 5px; }
.ux .ux-readout tbody tr { border-top: 1px solid var(--ux-edge); background: none; }
.ux .ux-readout th:first-child { text-align: left; white-space: nowrap; }
.ux .ux-readout thead th { color: var(--ux-soft); } .ux-formula { color: var(--ux-soft); font-style: italic; }
@container (max-width: 480px) { .ux-formula { display: none; } }
.ux button { font: inherit; color: inherit; background: var(--ux-card); border: 1px solid var(--ux-edge);
  border-radius: 8px; padding: 4px 12px; min-height: 32px; min-width: 7.5em; cursor: pointer; }
.ux button:hover { border-color: var(--ux-ridge); }
.ux button:focus-visible { outline: 2px solid var(--ux-ridge); outline-offset: 2px; }
.ux-halves { display: grid; gap: 8px 12px; } .ux-picture:has(.ux-strip) { max-width: none; }
.ux-strip { overflow: hidden; border-radius: 4px; }
.ux-stack { position: relative; } .ux-stack img:first-child { opacity: 0.3; }
.ux-stack img:last-child { position: absolute; inset: 0; }
@container (max-width: 559px) { .ux-halves { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
.ux-ten { display: grid; grid-template-columns: repeat(5, 1fr); gap: 4px 8px; }
.ux-picture:has(.ux-ten) { max-width: 330px; } .ux-settings { display: grid; gap: 6px; }
.ux-pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 8px 20px; }
.ux-pair .ux-caption > span { white-space: nowrap; }
.ux .ux-guess legend { white-space: normal; } .ux-count { color: var(--ux-soft); font-variant-numeric: tabular-nums; }
.ux .ux-play button { min-width: 4.8em; padding: 4px 9px; } .ux-play { align-items: center; gap: 6px 8px; }
.ux-choices { display: grid; gap: 4px 12px; } .ux-pick { cursor: pointer; } .ux-faint { opacity: 0.35; }
.ux-chips + .ux-deck { margin-top: 10px; }
.ux-choices .ux-select { grid-template-columns: 62px minmax(0, 1fr); align-items: center; }
.ux .ux-choices select { font-size: 13px; padding: 4px 4px; }
.ux-matched tr { display: grid; grid-template-columns: minmax(0, 2.8fr) repeat(5, minmax(0, 1fr)) repeat(2, 19.5%);
  align-items: center; column-gap: 8px; }
.ux .ux-matched :is(td, th) { padding-right: 0; } .ux .ux-matched .ux-tiles { text-align: left; }
.ux .ux-bare tr { grid-template-columns: minmax(0, 2fr) repeat(5, minmax(0, 1fr)); }
.ux .ux-matched tbody th { display: flex; gap: 3px; align-items: center; white-space: normal; overflow-wrap: anywhere;
  font-size: 12px; }
.ux-matched .ux-sample { width: 19px; margin: 0; }
.ux .ux-matched .ux-picture .ux-pixels { image-rendering: auto; }
.ux-chip:has(:disabled) { opacity: 0.5; }
@container (max-width: 559px) {
  .ux .ux-matched tr { grid-template-columns: repeat(8, minmax(0, 1fr)); column-gap: 5px; }
  .ux-matched th:first-child { grid-column: span 3; } .ux-matched .ux-tiles { grid-column: span 4; }
  .ux-choices { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .ux-choices .ux-select { grid-template-columns: minmax(0, 1fr); } }
.ux .ux-filters { display: grid; grid-template-columns: repeat(auto-fit, minmax(104px, 1fr)); margin-bottom: 8px; }
.ux-scroll { overflow: auto; max-height: 420px; margin-top: 6px; } .ux .ux-more { margin-top: 8px; }
.ux-scroll:focus-visible { outline: 2px solid var(--ux-ridge); outline-offset: 2px; }
.ux .ux-results :is(td, th) { white-space: nowrap; text-align: left; font-size: 12px; padding: 1px 6px 1px 0; }
.ux .ux-results :is(td, th):last-child { padding-right: 2px; }
.ux .ux-results .ux-number { text-align: right; }
.ux .ux-results :is(thead th, .ux-result th) { position: sticky; background: var(--pst-color-background,
  var(--jp-layout-color1, Canvas)); }
.ux .ux-results .ux-result th { left: 0; z-index: 1; } .ux .ux-results thead th { top: 0; z-index: 2; }
.ux .ux-results thead th:first-child { left: 0; z-index: 3; }
.ux-results :is(.ux-sort, .ux-opener) { border: 0; padding: 0; min-width: 0; min-height: 26px; background: none;
  font: inherit; }
.ux .ux-results .ux-sort { color: var(--ux-soft); }
.ux .ux-results [aria-sort$="ending"] .ux-sort { color: var(--ux-text); }
.ux-results :is(.ux-sort, .ux-opener):hover { text-decoration: underline; }
.ux-opener span { display: inline-block; width: 1.1em; color: var(--ux-soft); transition: transform 0.15s; }
.ux-opener[aria-expanded="true"] span { transform: rotate(90deg); } .ux-result { cursor: pointer; }
.ux .ux-results .ux-carded { border-top: 0; } .ux .ux-results .ux-carded td { white-space: normal; padding-right: 0; }
.ux-carding { position: sticky; left: 0; width: calc(100cqi - 20px); display: grid; gap: 8px 20px; padding: 4px 0 12px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 260px), 1fr)); }
.ux .ux-carding dl { margin: 0; display: grid; gap: 3px; align-content: start; }
.ux-carding dl > div { display: grid; grid-template-columns: 100px minmax(0, 1fr); gap: 8px; }
.ux .ux-carding dt { color: var(--ux-soft); font-weight: normal; }
.ux .ux-carding dd { margin: 0; overflow-wrap: anywhere; }
.ux-looks { display: grid; gap: 8px; align-content: start; } .ux-looks .ux-chart { max-width: 340px; }
.ux .ux-wide { max-width: 340px; }
@container (max-width: 559px) { .ux-looks { order: -1; } }
@media print { .ux-scroll { overflow: visible; max-height: none; }
  .ux .ux-filters, .ux-scroll ~ .ux-tools { display: none; }
  .ux .ux-results :is(td, th) { white-space: normal; font-size: 9px; padding: 1px 4px 1px 0; overflow-wrap: anywhere; }
  .ux .ux-results :is(thead th, .ux-result th) { position: static; }
  .ux-results .ux-sort { min-height: 0; text-align: left; white-space: normal; }
  .ux-results .ux-opener { min-height: 0; } .ux-opener span { display: none; } }
.ux-tools { margin-top: 8px; align-items: center; font-size: 13px; } .ux .ux-soft { color: var(--ux-soft); }
.ux .ux-tools button { min-width: 0; }
.ux .ux-file { display: inline-flex; align-items: center; min-height: 32px; padding: 4px 12px; cursor: pointer;
  color: var(--ux-text); border: 1px dashed var(--ux-edge); border-radius: 8px; }
.ux-file input { position: absolute; opacity: 0; width: 1px; height: 1px; }
.ux .ux-file:has(:focus-visible) { outline: 2px solid var(--ux-ridge); outline-offset: 2px; }
.ux-over .ux { outline: 3px dashed var(--ux-ridge); }
@media (pointer: coarse) {
  .ux :is(button, select, .ux-chip, .ux-toggle, .ux-file, .ux-slider input) { min-height: 44px; }
  .ux .ux-results :is(.ux-sort, .ux-opener) { min-width: 44px; min-height: 44px; }
  .ux .ux-chip { border-radius: 22px; min-width: 44px; justify-content: center; }
  .ux-toggle input { width: 22px; height: 22px; } }
.ux-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
  margin: 0; }
`;
