import { readNpy } from "../../lib/features/npy-file.js";
import type { HeadWeights } from "../../lib/heads/head.js";
import { golden, goldenPath } from "../golden.js";

/** VISSL's two heads in __tests__/golden/vissl/heads. */
export type VisslHead = "mlp" | "eval_mlp";

export const visslClasses = 5;

/** How VISSL trained it, the rate a tenth from the fourth step on, and the loss before each step. */
export interface VisslTraining {
  losses: number[];
  lr: number;
  lr_after_3_steps: number;
  momentum: number;
  weight_decay: number;
}

export function visslTraining(head: VisslHead): VisslTraining {
  return golden<Record<VisslHead, VisslTraining>>("vissl/heads/expected.json")[head];
}

export async function readVissl(name: string): Promise<{ shape: number[]; data: Float32Array }> {
  const { shape, data } = await readNpy({ file: goldenPath(`vissl/heads/${name}.npy`) });
  return { shape, data: Float32Array.from(data as ArrayLike<number | bigint>, Number) };
}

export async function visslWeights(head: VisslHead, moment: "initial" | "final"): Promise<HeadWeights> {
  const linear = `${head}_${moment}_${head === "mlp" ? "clf_0" : "clf_clf_0"}`;
  const norm = `${head}_${moment}_channel_bn`;
  return {
    weight: await transposed(`${linear}_weight`),
    bias: (await readVissl(`${linear}_bias`)).data,
    batchNorm:
      head === "mlp"
        ? undefined
        : {
            gamma: (await readVissl(`${norm}_weight`)).data,
            beta: (await readVissl(`${norm}_bias`)).data,
            mean: (await readVissl(`${norm}_running_mean`)).data,
            variance: (await readVissl(`${norm}_running_var`)).data,
          },
  };
}

/** PyTorch holds [classes, width]. */
async function transposed(name: string): Promise<Float32Array> {
  const { shape, data } = await readVissl(name);
  const [classes, width] = shape as [number, number];
  return data.map((_, i) => data[(i % classes) * width + Math.floor(i / classes)]!);
}
