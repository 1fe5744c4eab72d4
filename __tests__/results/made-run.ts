import type { SeedPredictions } from "../../lib/results/predictions.js";
import { type LayerResult, type ResultRecord, spread } from "../../lib/results/record.js";
import { resultWriter } from "../../lib/results/writer.js";
import { random } from "../../lib/random.js";
import { exampleRecord, exampleResult } from "./example.js";

export interface MadeRunOptions {
  /** The folder of the run. */
  out: string;
  /** Of each layer: the chance to be right on an image, which fc has; bn_fc has 0.05 more. */
  layers: Record<string, number>;
  heads?: string[];
  /** Reported images. */
  images?: number;
  seeds?: number[];
  /** Answers of runs with the same name are equal. */
  name?: string;
  /** Whether settings were chosen on held-out images. */
  chosen?: boolean;
  /** Whether images come in another order. */
  reversed?: boolean;
  /** Last changes to the record, and to the predictions of each head. */
  change?: (record: ResultRecord) => void;
  changePredictions?: (seeds: SeedPredictions[]) => SeedPredictions[];
}

const classes = exampleRecord().data.classes.names!;

/** A run as the real writer leaves it, with answers drawn by the name of the run. */
export async function makeRun(options: MadeRunOptions): Promise<ResultRecord> {
  const { out, layers, heads = ["fc", "bn_fc"], images = 300, seeds = [0, 1, 2], name = out, chosen = true } = options;
  const record = exampleRecord();
  record.settings = {
    epochs: 28,
    batchSize: 256,
    optimizer: { lr: [0.1] },
    layers: Object.keys(layers),
    backbone: name,
  };
  record.seeds = seeds;
  record.data.splits.test = images;
  if (!chosen) record.selection.on = null;
  const writer = await resultWriter({ out, settings: record.settings });
  try {
    record.results = [];
    for (const [layer, share] of Object.entries(layers)) {
      for (const head of heads) {
        const told = seeds.map((seed) =>
          answers({ ...options, images, name, seed, head, layer, share: head === "fc" ? share : share + 0.05 }),
        );
        const top1 = told.map(({ targets, predicted }) => {
          return Array.from(targets).filter((target, i) => target === predicted[i]).length / images;
        });
        const result: LayerResult = exampleResult({ layer, head, top1, shape: [8] });
        record.results.push({ ...result, selection: chosen ? spread(top1.map(() => share)) : null });
        const predictions = options.changePredictions?.(told) ?? told;
        await writer.predictions({ layer, head, classes, seeds: predictions });
      }
    }
    options.change?.(record);
    await writer.finish(record);
    return record;
  } finally {
    writer.close();
  }
}

function answers(
  options: Pick<MadeRunOptions, "reversed"> &
    Record<"images" | "seed" | "share", number> &
    Record<"name" | "head" | "layer", string>,
): SeedPredictions {
  const { images, name, seed, head, layer, share, reversed = false } = options;
  const stream = random(seed, name, head, layer);
  const targets = Array.from({ length: images }, (_, i) => i % classes.length);
  const predicted = targets.map((target) => (stream.uniform() < share ? target : (target + 1) % classes.length));
  const ids = targets.map((target, i) => `${classes[target]}/photo, ${i}.png`);
  const order = <T>(list: T[]) => (reversed ? [...list].reverse() : list);
  const probability = targets.map(() => 0.5);
  return { seed, ids: order(ids), targets: order(targets), predicted: order(predicted), probability };
}
