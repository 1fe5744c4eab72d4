const { default: Sequencer } = require("@jest/test-sequencer");

// What takes half a minute or more, or waits for others, the longest first.
const longest = [
  "cli/slurm",
  "package",
  "cli/stopped-training",
  "protocols/linear-halving",
  "cli/cog",
  "protocols/cog/logreg",
  "models/real-photos",
  "cli/stopped-extraction",
  "cli/eval-linear",
  "cli/live",
  "cli/compare",
  "cli/launched-cog",
  "convert/onnx",
  "results/compare",
  "training/full-batch-trainer",
  "cli/train-svm",
];

/**
 * Starts the longest files first, so that none is left alone at the end while the other worker has nothing to do. Jest
 * knows by itself only what it has run before, which a fresh clone has not.
 */
module.exports = class LongestFirst extends Sequencer {
  sort(tests) {
    const place = ({ path }) => {
      const found = longest.findIndex((name) => path.replaceAll("\\", "/").endsWith(`/__tests__/${name}.test.js`));
      return found === -1 ? longest.length : found;
    };
    return super.sort(tests).sort((a, b) => place(a) - place(b));
  }
};
