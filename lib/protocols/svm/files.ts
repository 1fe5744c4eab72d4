import path from "node:path";

import { encodeNpy } from "../../features/npy.js";
import { encodeNpz } from "../../features/npz.js";
import { writeFileAtomic } from "../../files.js";
import type { HeadSpec } from "../../heads/head.js";
import { exportHead } from "../../results/export-head.js";
import { writeScores } from "../../results/predictions.js";
import { costFigure, precisionRecallFigure } from "../../results/svm-figures.js";
import { fileNameOf, layerFileName } from "../../results/wording.js";
import { costText } from "../../svm/costs.js";
import { addedToLength } from "../../svm/normalise.js";
import type { SvmRun } from "./svm.js";
import { testMatrix } from "./labels.js";
import { chosenMatrix, type LayerSvms } from "./layer.js";

/** What records, and the names of files, call these heads. */
export const svmHead = "svm";

/**
 * What is written of a layer:
 *
 *     <layer>/crossval_ap.npy            float64 [classes, costs], VISSL's, as the next three
 *     <layer>/chosen_cost.npy            float64 [classes]
 *     <layer>/test_ap.npy                float64 [classes, 1]
 *     <layer>/AP_cls<c>_cost<C>.npy      float64 [1]: one number of crossval_ap.npy
 *     <layer>/cls<c>_cost<C>.npz         the SVM of a class at a cost: coef, intercept, classes
 *     <layer>/ap_by_cost.svg             cross-validation
 *     <layer>/precision_recall.svg       of the reported images
 *     predictions/<layer>.svm.csv        decision values of the reported images
 *     heads/<layer>.svm/                 the chosen SVMs as one head (export-head.ts)
 */
export async function writeLayerFiles(run: SvmRun, found: LayerSvms): Promise<void> {
  const { out, costs, labels, plan, features } = run;
  if (out === undefined) return;
  const { layer, classes } = found;
  const names = labels.map(({ name }) => name);
  const inLayer = (file: string) => path.join(out, layerFileName(layer.name), file);
  const writeNumbers = (file: string, values: number[], ...shape: number[]) =>
    writeFileAtomic(inLayer(file), encodeNpy({ dtype: "float64", shape, data: Float64Array.from(values) }));

  await writeNumbers("crossval_ap.npy", classes.flatMap(({ crossval }) => crossval), classes.length, costs.length); // prettier-ignore
  await writeNumbers("chosen_cost.npy", classes.map(({ chosen }) => costs[chosen]!), classes.length); // prettier-ignore
  await writeNumbers("test_ap.npy", classes.map(({ ap }) => ap), classes.length, 1); // prettier-ignore
  for (const [c, { crossval, weights, biases }] of classes.entries()) {
    for (const [i, cost] of costs.entries()) {
      const name = `cls${labels[c]!.index}_cost${costText(cost)}`;
      await writeNumbers(`AP_${name}.npy`, [crossval[i]!], 1);
      await writeFileAtomic(inLayer(`${name}.npz`), modelFile(weights[i]!, biases[i]!));
    }
  }
  const title = `${layer.name} of ${features.data.name}`;
  const byCost = classes.map(({ crossval, chosen }, c) => ({ name: names[c]!, crossval, chosen }));
  await writeFileAtomic(inLayer("ap_by_cost.svg"), (await costFigure({ title, costs, classes: byCost })).svg);
  const curves = classes.map(({ scores, ap }, c) => ({ name: names[c]!, scores, targets: labels[c]!.test, ap }));
  await writeFileAtomic(inLayer("precision_recall.svg"), (await precisionRecallFigure({ title, classes: curves })).svg);

  const { source, rows } = plan.report;
  const place = fileNameOf({ layer: layer.name, head: svmHead });
  const ids = Array.from(rows, (row) => source.ids[row]!);
  const said = { seed: run.settings.splitSeed, ids, targets: testMatrix(labels), scores: sideBySide(found) };
  const file = path.join(out, "predictions", `${place}.csv`);
  await writeScores({ file, classes: names, seeds: [said], tell: "score" });
  await exportSvms(run, found, path.join(out, "heads", place));
}

/** Arrays named as scikit-learn's LinearSVC names its attributes. */
function modelFile(weights: Float32Array, bias: number): Uint8Array {
  return encodeNpz({
    coef: { dtype: "float32", shape: [1, weights.length], data: weights },
    intercept: { dtype: "float64", shape: [1], data: Float64Array.of(bias) },
    classes: { dtype: "int64", shape: [2], data: BigInt64Array.of(-1n, 1n) },
  });
}

/** Shape [images, classes]. */
function sideBySide({ classes }: LayerSvms): Float32Array {
  const images = classes[0]!.scores.length;
  const matrix = new Float32Array(images * classes.length);
  classes.forEach(({ scores }, c) => scores.forEach((score, i) => (matrix[i * classes.length + c] = score)));
  return matrix;
}

async function exportSvms({ labels, settings }: SvmRun, { layer, classes }: LayerSvms, dir: string): Promise<void> {
  const { weights, biases } = chosenMatrix(classes, layer.width);
  const head: HeadSpec = {
    name: svmHead,
    layer: layer.name,
    reads: [layer.name],
    shape: layer.shape,
    input: settings.normalize ? "l2" : "raw",
    hidden: [],
    initial: "torch",
  };
  const names = labels.map(({ name }) => name);
  await exportHead({
    dir,
    head,
    weights: { weight: weights, bias: biases },
    classes: names,
    activation: "sigmoid",
    lengthAdded: settings.normalize ? addedToLength : undefined,
  });
}
