import { readFileSync } from "node:fs";
import path from "node:path";

import { loadBackbone } from "../../lib/backbones/backbone.js";
import { openDataset } from "../../lib/datasets/open.js";
import { extractFeatures } from "../../lib/features/extract.js";
import { evalLinear } from "../../lib/protocols/linear/linear.js";
import { fileNameOf } from "../../lib/results/wording.js";
import type { ResultRecord } from "../../lib/results/record.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";

export interface SmallRun {
  /** Folder of the run. */
  run: string;
  /** Folder of the backbone. */
  backbone: string;
  /** Folder of the images' class folders. */
  images: string;
  record: ResultRecord;
}

export interface SmallRunOptions {
  folder: string;
  layers: string[];
  heads?: string[];
  /** Learning rates; with one there is nothing to choose. */
  lr?: number[];
  seeds?: number[];
  transform?: string;
}

/** Evaluates the small backbone on small images, on the backend in use. */
export async function evaluateSmall(options: SmallRunOptions): Promise<SmallRun> {
  const { folder, layers, heads = ["fc", "bn_fc"], lr = [0.001, 0.003], seeds = [0], transform } = options;
  const dir = await writeSmallBackbone({ root: path.join(folder, "models") });
  const images = path.join(folder, "photos");
  await writeSmallImages({ folder: images, count: 10 });
  const backbone = await loadBackbone({ dir });
  try {
    const dataset = await openDataset({ spec: `folder:${images}` });
    const root = path.join(folder, "features");
    const features = await extractFeatures({ backbone, dataset, layers, root, transform, workers: 1 });
    const optimizer = { lr, weightDecay: [0], momentum: 0.9, nesterov: true };
    const training = { heads, optimizer, seeds, epochs: 4, batchSize: 16, schedule: { kind: "constant" as const } };
    const run = path.join(folder, "run");
    try {
      const record = await evalLinear({ features, ...training, out: run, settings: { backbone: dir } });
      return { run, backbone: dir, images, record };
    } finally {
      await features.close();
    }
  } finally {
    backbone.dispose();
  }
}

export interface Prediction {
  /** Name of the image below the images' folder. */
  id: string;
  predicted: string;
  probability: number;
}

/** What a run's head of its first seed said of each reported image. */
export function predictionsOf({ run }: SmallRun, of: { layer: string; head: string }): Prediction[] {
  const lines = readFileSync(path.join(run, "predictions", `${fileNameOf(of)}.csv`), "utf8")
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.split(","));
  const first = lines[0]![0];
  return lines
    .filter(([seed]) => seed === first)
    .map(([, id, , predicted, probability]) => ({ id: id!, predicted: predicted!, probability: Number(probability) }));
}
