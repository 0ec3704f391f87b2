// `make lint-js`. Only what the explorers use of a browser counts as defined, so that no slip is taken for a global.

const known = (...names) => ({ globals: Object.fromEntries(names.map((name) => [name, "readonly"])) });

export default [
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "no-undef": "error",
      "no-unused-vars": "error",
      "no-var": "error",
      "prefer-const": "error",
      eqeqeq: "error",
      "one-var": ["error", "never"], // unidd/book/bundle.py reads one top-level name a statement
      "max-lines-per-function": ["error", { max: 40, skipBlankLines: true, skipComments: true }],
    },
  },
  {
    files: ["unidd/book/explorers/*.js"],
    languageOptions: known("ResizeObserver", "URLSearchParams", "addEventListener", "atob", "cancelAnimationFrame", "clearInterval", "clearTimeout",
      "createImageBitmap", "document", "history", "location", "matchMedia", "navigator", "queueMicrotask",
      "removeEventListener", "requestAnimationFrame", "setInterval", "setTimeout"),
  },
  {
    files: ["book/_static/*.js"],
    languageOptions: known("MutationObserver", "Plotly", "document", "getComputedStyle",
      "requestAnimationFrame", "unidd"),
  },
];
