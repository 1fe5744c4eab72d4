import tseslint from "typescript-eslint";

// Directions of import (docs/architecture.md): each folder of lib/ and those it may not reach into. Arrows point one
// way: protocols, classifiers → heads, svm, neighbours, search → features → backbones, images, datasets → backend.
const outward = ["cli", "bench", "__tests__"];
const left = ["images", "datasets", "checkpoints", "convert", "backbones", "downloads", "backend"];
const forbidden = {
  backend: ["images", "datasets", "checkpoints", "convert", "backbones", "features", "protocols", "results"],
  zip: ["images", "datasets", "checkpoints", "convert", "backbones", "features", "protocols", "results"],
  downloads: ["images", "datasets", "checkpoints", "convert", "backbones", "features", "protocols", "results"],
  images: ["datasets", "checkpoints", "convert", "backbones", "features", "protocols", "results"],
  datasets: ["convert", "backbones", "protocols", "results"],
  checkpoints: ["images", "datasets", "convert", "backbones", "features", "protocols", "results"],
  convert: ["images", "datasets", "features", "protocols", "results"],
  backbones: ["datasets", "features", "protocols", "results", "convert"],
  features: ["protocols", "results", "training", "heads", "optim", "convert"],
  heads: [...left, "training", "protocols", "results"],
  optim: [...left, "features", "training", "protocols", "results"],
  metrics: [...left, "features", "heads", "training", "protocols", "results"],
  search: [...left, "features", "training", "protocols", "results"],
  processes: [...left, "features", "heads", "svm", "training", "protocols", "results"],
  training: ["images", "datasets", "convert", "backbones", "downloads", "protocols", "results"],
  matrices: [...left, "features", "heads", "svm", "logistic", "training", "protocols", "results"],
  svm: [...left, "features", "logistic", "protocols", "results"],
  logistic: [...left, "features", "svm", "training", "protocols", "results"],
  neighbours: [...left, "features", "protocols", "results"],
  results: [...left, "features", "training", "protocols"],
  classifiers: ["protocols"],
  launch: [...left, "features", "training", "protocols", "results"],
  zoo: ["images", "datasets", "features", "protocols"],
};
// What one may reach all the same: a backbone's graph is continued by its poolings; jobs share the GPUs.
const allowed = {
  backbones: ["!../convert/graph-builder.js", "!../convert/weight.js"],
  launch: ["!../backend/gpu.js"],
};
// The mathematics runs in a browser as it is: no files, no threads, no Buffer.
const browser = ["heads", "optim", "search", "matrices", "svm", "logistic", "neighbours", "metrics"];

const restrict = (folder, folders) => ({
  files: [`lib/${folder}/**/*.ts`],
  rules: {
    "no-restricted-imports": [
      "error",
      {
        patterns: [
          {
            group: [
              ...(folder === "classifiers" ? folders : [...folders, "classifiers"]).map((name) => `../${name}/*`),
              ...(allowed[folder] ?? []),
            ],
            message: `lib/${folder} stands left of it.`,
            allowTypeImports: true,
          },
          { group: outward.map((name) => `../../${name}/*`), message: "Nothing in lib imports outward." },
          ...(browser.includes(folder)
            ? [{ group: ["node:*", "fs", "path", "sharp"], message: "This folder runs in a browser." }]
            : []),
        ].filter(({ group }) => group.length > 0),
      },
    ],
    ...(browser.includes(folder) ? { "no-restricted-globals": ["error", "Buffer", "process", "require"] } : {}),
  },
});

export default tseslint.config(
  { ignores: ["dist/", "node_modules/", "__tests__/golden/"] },
  ...tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/no-base-to-string": "off",
      eqeqeq: ["error", "always"],
    },
  },
  { files: ["**/*.mjs", "**/*.cjs"], ...tseslint.configs.disableTypeChecked },
  { files: ["**/*.cjs"], rules: { "@typescript-eslint/no-require-imports": "off" } },
  ...Object.entries(forbidden).map(([folder, folders]) => restrict(folder, folders)),
);
