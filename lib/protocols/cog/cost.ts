import { arraySource } from "../../features/array-source.js";
import { initialWeights } from "../../heads/head.js";
import { random } from "../../random.js";
import type { LogregProtocol } from "./protocol.js";
import { onlySetting } from "./search.js";
import { logregHead, stepsPerEpoch, trainLogreg } from "./training.js";

/** Settings of a measured step; a search trains about so many side by side. */
const together = 10;

/** Passes over the images that L-BFGS takes, about, each as long as an epoch of one setting (docs/benchmarks.md). */
const passes = 60;

/** Steps that are measured. */
const measured = 3;

/**
 * Seconds that the searches and the last trainings of one seed take, about, from a few steps on images like those.
 *
 * @param options.images of the last training.
 */
export async function trainingSeconds(options: {
  width: number;
  classes: number;
  images: number;
  protocol: LogregProtocol;
}): Promise<number> {
  const { images, protocol } = options;
  const { trials, epochs, valFraction, batchSize, methods } = protocol;
  const searched = Math.max(1, Math.round((1 - valFraction) * images));
  const steps = (rows: number) => epochs * stepsPerEpoch({ rows, batchSize });
  const one = await stepSeconds({ ...options, settings: 1 });
  const fast = methods.includes("lbfgs") ? passes * stepsPerEpoch({ rows: images, batchSize }) * one : 0;
  if (!methods.includes("sgd")) return fast;
  // The last training is watched, which costs about another step, and judged on the test images.
  const last = 2 * steps(images) * one;
  if (onlySetting(protocol)) return fast + last;
  return (
    fast + last + ((trials * steps(searched)) / together) * (await stepSeconds({ ...options, settings: together }))
  );
}

/** Seconds of a step of so many settings. */
async function stepSeconds(options: {
  width: number;
  classes: number;
  images: number;
  protocol: LogregProtocol;
  settings: number;
}): Promise<number> {
  const { width, classes, images, protocol, settings } = options;
  const rows = Math.min(protocol.batchSize, images);
  const stream = random(0, "cost");
  const data = Float32Array.from({ length: rows * width }, () => stream.uniform());
  const labels = Int32Array.from({ length: rows }, () => stream.integer(classes));
  const layer = { name: "f", shape: [width], width };
  const source = await arraySource({ layers: { f: { shape: [width], data } }, targets: { kind: "single", labels } });
  const every = Uint32Array.from({ length: rows }, (_, row) => row);
  const seconds = async (epochs: number) => {
    const started = Date.now();
    const bank = await trainLogreg({
      train: { source, rows: every },
      layer,
      classes,
      normalize: protocol.normalize,
      settings: Array.from({ length: settings }, () => ({ lr: 1, weightDecay: 1e-6 })),
      epochs,
      batchSize: rows,
      start: initialWeights(logregHead(layer, protocol.normalize), classes, 0),
      order: () => every,
    });
    await bank.weights({ seed: 0, head: 0, trial: 0 });
    bank.dispose();
    return (Date.now() - started) / 1000;
  };
  try {
    const start = await seconds(1);
    return Math.max(0, (await seconds(1 + measured)) - start) / measured;
  } finally {
    await source.close();
  }
}
