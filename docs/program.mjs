// Each layer of a backbone under linear heads, from a program:
//
//   node docs/program.mjs BACKBONE DATA
//   node docs/program.mjs models/imagenet1k/efficientnet_lite0 folder:photos
import {
  evalLinear,
  extractFeatures,
  formatTable,
  loadBackbone,
  openDataset,
  terminalProgress,
  UserError,
} from "frozen-eval";

const [dir, spec] = process.argv.slice(2);
const progress = terminalProgress();
try {
  if (!dir || !spec) throw new UserError("Expected a backbone and images but received fewer than two arguments");
  const backbone = await loadBackbone({ dir });
  const dataset = await openDataset({ spec, progress });
  // Kept under `features/`: a second run, or another protocol, finds them there.
  const features = await extractFeatures({ backbone, dataset, layers: "all", progress });
  backbone.dispose();
  const record = await evalLinear({ features, heads: ["fc"], seeds: [0, 1, 2], progress });
  await features.close();
  console.log(formatTable(record, { kind: "text" }));
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(`${error.message}\n${error.hint ?? ""}`);
  process.exitCode = 2;
}
