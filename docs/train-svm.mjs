// Linear SVMs on features of your own, from a program:
//
//   node docs/train-svm.mjs X.npy Y.npy TEST_X.npy TEST_Y.npy
//
// X of shape [n, width], Y of [n, classes] with 1 (present), 0 (absent), -1 (ignored), or of class indices [n].
import { formatTable, openFeatures, terminalProgress, trainSvm, UserError } from "frozen-eval";

const [x, y, testX, testY] = process.argv.slice(2);
try {
  if (!testY) throw new UserError("Expected four files but received fewer arguments");
  const features = await openFeatures({ spec: `npy:${x},${y}`, testSpec: `npy:${testX},${testY}` });
  const record = await trainSvm({ features, costs: [0.01, 0.1, 1], progress: terminalProgress() });
  await features.close();
  console.log(formatTable(record, { kind: "text" }));
  const [{ classes }] = record.results;
  const hardest = classes.reduce((least, each) => (each.ap < least.ap ? each : least));
  console.log(`Hardest: class ${hardest.name}, AP ${hardest.ap.toFixed(3)} at cost ${hardest.cost}`);
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(`${error.message}\n${error.hint ?? ""}`);
  process.exitCode = 2;
}
