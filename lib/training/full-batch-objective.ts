import * as tf from "@tensorflow/tfjs";

import type { ChannelStatistics } from "../heads/batch-norm.js";
import type { HeadProblems } from "../heads/full-batch.js";
import type { HeadSpec } from "../heads/head.js";
import { lossTargets } from "../heads/loss.js";
import { keepTransposed } from "../heads/matrix-product.js";
import { evaluationInput, trainingInputs } from "../heads/training-input.js";
import type { Part, TrainingJob } from "./job.js";
import { targetsOf } from "./passes.js";

/** Images that are looked at together. */
export const chunkSize = 1024;

/** Milliseconds after which signals and progress bars get their turn. */
const breath = 50;

/** Loss and gradient of a head over all training images, which pass by chunk by chunk. */
export interface FullBatchObjective {
  /** Statistics of all training images that the input of the head is normalised by, [1, C]; biased variance. */
  statistics?: ChannelStatistics;
  /** Images × positions that they were made of. */
  count: number;
  /** Mean loss + ½·λ‖w‖² of each problem, and its gradient. */
  evaluate(x: tf.Tensor2D): Promise<{ loss: Float64Array; gradient: tf.Tensor2D }>;
  dispose(): void;
}

/** @param options.problems of the head `spec`; not disposed here. */
export async function fullBatchObjective(options: {
  job: Pick<TrainingJob, "seeds" | "classes" | "loss">;
  part: Part;
  spec: HeadSpec;
  problems: HeadProblems;
}): Promise<FullBatchObjective> {
  const { job, part, spec, problems } = options;
  const { source, rows } = part;
  const { seeds, classes, loss } = job;
  const { divisor, classWeights } = divisorsOf(options);
  const { statistics, count } = await statisticsOf(part, spec);

  /** Sums over all images. */
  const summed = async (x: tf.Tensor2D): Promise<{ losses: Float64Array; gradient: tf.Tensor2D }> => {
    const losses = new Float64Array(x.shape[0]);
    let gradient = tf.zerosLike(x);
    let breathed = Date.now();
    try {
      for await (const batch of source.pass({ rows, batchSize: chunkSize, layers: [...new Set(spec.reads)] })) {
        const own = targetsOf(source, batch.rows);
        const targets = seeds.flatMap(() => Array.from(own));
        const before = gradient;
        const ofChunk = tf.tidy(() => {
          const input = evaluationInput(batch.features, spec, statistics);
          keepTransposed(input);
          const sums = problems.sums({
            input,
            targets: lossTargets({ loss, targets, seeds: seeds.length, classes, classWeights }),
          });
          return { losses: sums.losses, gradient: tf.add<tf.Tensor2D>(before, sums.gradient) };
        });
        tf.dispose([batch.features, before]);
        gradient = ofChunk.gradient;
        const read = await ofChunk.losses.data();
        ofChunk.losses.dispose();
        read.forEach((value, k) => (losses[k]! += value));
        if (Date.now() - breathed > breath) {
          await tf.nextFrame();
          breathed = Date.now();
        }
      }
      return { losses, gradient };
    } catch (error) {
      gradient.dispose();
      throw error;
    }
  };

  return {
    statistics,
    count,
    evaluate: async (x) => {
      problems.write(x);
      const { losses, gradient: sum } = await summed(x);
      const { penalty, gradient } = tf.tidy(() => ({
        penalty: problems.penalty(x),
        gradient: tf.add<tf.Tensor2D>(tf.div(sum, divisor), problems.penaltyGradient(x)),
      }));
      sum.dispose();
      const penalties = await penalty.data();
      penalty.dispose();
      return { loss: losses.map((value, k) => value / divisor + penalties[k]!), gradient };
    },
    dispose: () => tf.dispose({ ...statistics }),
  };
}

/** What makes means of sums, as of a batch of all images: one divisor, and of several labels each class's own. */
function divisorsOf({ job, part }: { job: Pick<TrainingJob, "classes" | "loss">; part: Part }): {
  divisor: number;
  classWeights?: Float64Array;
} {
  const { classes, loss } = job;
  const images = part.rows.length;
  if (loss.kind === "soft_cross_entropy") return { divisor: images };
  const targets = targetsOf(part.source, part.rows);
  if (loss.kind === "cross_entropy") {
    return { divisor: Math.max(1, Array.from(targets).filter((label) => label >= 0).length) };
  }
  const known = new Float64Array(classes);
  targets.forEach((target, i) => (known[i % classes]! += target >= 0 ? 1 : 0));
  return { divisor: images, classWeights: known.map((count) => images / Math.max(1, count)) };
}

/** Mean and biased variance of each channel over all images, put together from those of chunks (Chan et al. 1979). */
async function statisticsOf(
  { source, rows }: Part,
  spec: HeadSpec,
): Promise<{ statistics?: ChannelStatistics; count: number }> {
  if (spec.input === "raw" || spec.input === "l2") return { count: 0 };
  const channels = spec.shape[0]!;
  const positions = spec.shape.slice(1).reduce((product, size) => product * size, 1);
  const mean = new Float64Array(channels);
  const squares = new Float64Array(channels);
  let count = 0;
  for await (const batch of source.pass({ rows, batchSize: chunkSize, layers: [...new Set(spec.reads)] })) {
    const own = tf.tidy(() => {
      const { statistics } = trainingInputs(batch.features, 1)(spec);
      return { mean: statistics!.mean.clone(), variance: statistics!.variance.clone() };
    });
    tf.dispose(batch.features);
    const [means, variances] = await Promise.all([own.mean.data(), own.variance.data()]);
    tf.dispose({ ...own });
    const added = batch.rows.length * positions;
    const whole = count + added;
    for (let c = 0; c < channels; c++) {
      const delta = means[c]! - mean[c]!;
      mean[c]! += (delta * added) / whole;
      squares[c]! += variances[c]! * added + (delta * delta * count * added) / whole;
    }
    count = whole;
  }
  const tensor = (values: Float64Array) => tf.tensor2d(Float32Array.from(values), [1, channels]);
  return { statistics: { mean: tensor(mean), variance: tensor(squares.map((sum) => sum / count)) }, count };
}
