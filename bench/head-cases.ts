import type { HeadSpec } from "../lib/heads/head.js";
import { linearHead } from "../lib/heads/head.js";
import type { Trial } from "../lib/heads/block.js";

/** A bank of heads that is trained beside a peer. */
export interface HeadCase {
  /** What is stored of an image. */
  layers: { name: string; shape: number[] }[];
  heads: { spec: HeadSpec; trials: Trial[] }[];
  classes: number;
  images: number;
  /**
   * How published programs train it: one run a trial, each with all heads in a pass, or all heads under all of their
   * rates in one run.
   */
  peer: "run a trial" | "one run";
}

const optimizer = { kind: "sgd", momentum: 0.9, nesterov: true } as const;
const schedule = { kind: "constant" } as const;

function trialsOf(rates: number[], decays: number[]): Trial[] {
  return rates.flatMap((lr) => decays.map((weightDecay) => ({ lr, weightDecay, optimizer, schedule })));
}

const thirty = trialsOf([0.001, 0.003, 0.01, 0.03, 0.1, 0.3], [0, 1e-5, 1e-4, 5e-4, 1e-3]);

/** One linear head on one layer. */
function linearCase(options: { width: number; classes: number; images: number; trials: Trial[] }): HeadCase {
  const { width, trials, ...rest } = options;
  const shape = [width];
  const spec = linearHead({ layer: "features", shape, name: "fc" });
  return { layers: [{ name: "features", shape }], heads: [{ spec, trials }], peer: "run a trial", ...rest };
}

/**
 * DINOv2's linear evaluation: 13 learning rates × class tokens of the last 1 or 4 blocks, without and with the mean of
 * the last one's patch tokens.
 */
function dinov2Case(): HeadCase {
  const width = 384;
  const tokens = ["cls9", "cls10", "cls11", "cls12"];
  const inputs = [["cls12"], ["cls12", "avg12"], tokens, [...tokens, "avg12"]];
  const rates = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1];
  return {
    layers: [...tokens, "avg12"].map((name) => ({ name, shape: [width] })),
    heads: inputs.map((reads) => ({
      spec: {
        ...{ name: "fc", layer: reads.join("+"), reads, shape: [reads.length * width] },
        ...{ input: "raw", hidden: [], initial: "normal" },
      },
      trials: trialsOf(rates, [0]),
    })),
    classes: 1000,
    images: 1024,
    peer: "one run",
  };
}

/** VISSL's heads on ResNet-50: batch norm and linear on six pooled maps, and a plain one on the last. */
function visslCase(): HeadCase {
  const layers = [
    { name: "conv1", shape: [64, 12, 12] },
    { name: "res2", shape: [256, 6, 6] },
    { name: "res3", shape: [512, 4, 4] },
    { name: "res4", shape: [1024, 3, 3] },
    { name: "res5", shape: [2048, 2, 2] },
    { name: "res5avg", shape: [2048, 1, 1] },
  ];
  const trials = trialsOf([0.01, 0.03, 0.1], [0, 5e-4]);
  const heads = layers.map(({ name, shape }) => ({ spec: linearHead({ layer: name, shape, name: "bn_fc" }), trials }));
  const { name, shape } = layers.at(-1)!;
  heads.push({ spec: linearHead({ layer: name, shape, name: "fc" }), trials });
  return { layers, heads, classes: 1000, images: 1024, peer: "run a trial" };
}

export const headCases: Record<string, HeadCase> = {
  "fc-1000": linearCase({ width: 2048, classes: 1000, images: 8192, trials: trialsOf([0.01], [5e-4]) }),
  "trials-100": linearCase({ width: 2048, classes: 100, images: 8192, trials: thirty }),
  "trials-20": linearCase({ width: 2048, classes: 20, images: 8192, trials: thirty }),
  "trials-10": linearCase({ width: 1280, classes: 10, images: 8192, trials: thirty }),
  dinov2: dinov2Case(),
  vissl: visslCase(),
};
