import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

import { arraySource } from "../../lib/features/array-source.js";
import type { Trial } from "../../lib/heads/block.js";
import type { HeadSpec } from "../../lib/heads/head.js";
import type { Part, TrainingJob } from "../../lib/training/job.js";
import { golden, goldenPath } from "../golden.js";

/** Made by bench/peers/golden_full_batch.py with scikit-learn and PyTorch. */
export const reference = golden<{
  digits: { C: number; accuracy: number; nll: number }[];
  features: number[];
  labels: number[];
  logistic: { weightDecay: number; weight: number[]; loss: number }[];
  mlp: {
    start: [number[][], number[], number[][], number[]];
    runs: { weightDecay: number; lr: number; losses: number[] }[];
  };
}>("training/full_batch.json");

/** 40 images of three classes. */
export async function smallPart(): Promise<Part> {
  const { features, labels } = reference;
  const source = await arraySource({
    layers: { out: { shape: [5], data: Float32Array.from(features) } },
    targets: { kind: "single", labels: Int32Array.from(labels) },
  });
  return { source, rows: Uint32Array.from(labels.keys()) };
}

/** The digits of scikit-learn, the first half for training. */
export async function digits(): Promise<{ train: Part; report: Part }> {
  const bytes = gunzipSync(readFileSync(goldenPath("training/digits.bin.gz")));
  const count = bytes.length / 65;
  const data = Float32Array.from({ length: count * 64 }, (_, i) => bytes[Math.floor(i / 64) * 65 + (i % 64)]! / 16);
  const labels = Int32Array.from({ length: count }, (_, row) => bytes[row * 65 + 64]!);
  const source = await arraySource({ layers: { out: { shape: [64], data } }, targets: { kind: "single", labels } });
  const rows = Uint32Array.from({ length: count }, (_, row) => row);
  return { train: { source, rows: rows.subarray(0, 898) }, report: { source, rows: rows.subarray(898) } };
}

export function headOn(shape: number[], change: Partial<HeadSpec> = {}): HeadSpec {
  return { name: "fc", layer: "out", reads: ["out"], shape, input: "raw", hidden: [], initial: "torch", ...change };
}

export function trialOf(weightDecay: number, change: Partial<Trial> = {}): Trial {
  const optimizer = { kind: "lbfgs", history: 10, lineSearch: "strong_wolfe" } as const;
  return { lr: 1, weightDecay, optimizer, schedule: { kind: "constant" }, ...change };
}

export function jobOf(heads: TrainingJob["heads"], change: Partial<TrainingJob> = {}): TrainingJob {
  return {
    heads,
    seeds: [0],
    classes: 3,
    loss: { kind: "cross_entropy", labelSmoothing: 0 },
    regularised: { bias: false, norm: false },
    epochs: 100,
    ...change,
  };
}
