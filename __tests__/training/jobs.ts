import type { Trial } from "../../lib/heads/block.js";
import { type HeadSpec, type HeadWeights, linearHead } from "../../lib/heads/head.js";
import type { FeatureSource } from "../../lib/features/source.js";
import type { TrainingParts } from "../../lib/training/job.js";
import type { EpochReport, Trainer } from "../../lib/training/trainer.js";
import { cloudClasses, everyRow } from "../clouds.js";

export const fc = linearHead({ layer: "deep", shape: [8], name: "fc" });
export const bnFc = linearHead({ layer: "shallow", shape: [3, 2, 1], name: "bn_fc" });

export function mlp(width: number): HeadSpec {
  return { ...fc, name: "mlp", hidden: [{ width, batchNorm: true, relu: true, dropout: 0 }] };
}

export function trial(lr: number, weightDecay = 0): Trial {
  const optimizer = { kind: "sgd", momentum: 0.9, nesterov: true } as const;
  return { lr, weightDecay, optimizer, schedule: { kind: "cosine", per: "epoch" } };
}

/** What all jobs of these tests share. */
export const common = {
  seeds: [0, 1],
  classes: cloudClasses.length,
  loss: { kind: "cross_entropy", labelSmoothing: 0 },
  regularised: { bias: true, norm: false },
  epochs: 3,
} as const satisfies object;

export const commonJob = { ...common, seeds: [...common.seeds] };

/** A third of the training images is what settings are chosen on. */
export function partsOf({ train, test }: Record<"train" | "test", FeatureSource>): TrainingParts {
  const rows = everyRow(train);
  return {
    train: { source: train, rows: rows.filter((row) => row % 3 > 0) },
    select: { source: train, rows: rows.filter((row) => row % 3 === 0) },
    report: { source: test, rows: everyRow(test) },
  };
}

/** Trains, and tells what was reported. */
export async function trained(trainer: Trainer): Promise<EpochReport[]> {
  const reports: EpochReport[] = [];
  await trainer.train({ onEpoch: (report) => reports.push(report) });
  return reports;
}

export function expectWeights(found: HeadWeights, wanted: HeadWeights, tolerance: number): void {
  const flat = ({ weight, bias, batchNorm, hidden = [] }: HeadWeights): Float32Array[] => [
    weight,
    bias,
    ...(batchNorm ? [batchNorm.gamma, batchNorm.beta, batchNorm.mean, batchNorm.variance] : []),
    ...hidden.flatMap((one) => flat(one)),
  ];
  const [a, b] = [flat(found), flat(wanted)];
  expect(a.map(({ length }) => length)).toEqual(b.map(({ length }) => length));
  const largest = Math.max(...a.map((array, i) => array.reduce((m, x, k) => Math.max(m, Math.abs(x - b[i]![k]!)), 0)));
  expect(largest).toBeLessThanOrEqual(tolerance);
}
