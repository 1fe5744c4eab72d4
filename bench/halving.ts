/**
 * Successive halving beside the full sweep, on the same splits: what each chooses, and how long it takes.
 *
 *     node dist/bench/halving.js [--synthetic 12] [--first 0] [--images 20000] [--classes 100] [--widths 768,1024,1280]
 *                                [--features DIR|npy:X,Y ...] [--layers a,b] [--heads fc,bn_fc] [--seeds 0,1]
 *                                [--epochs 28] [--device native] [--processes n]
 *
 * A data set is a synthetic one, or a layer of the features under a head and a seed (of splits, initial weights and
 * orders). Many images are reported on and decide the choice, for few would not tell differences of 0.2 points. Of two
 * settings that are equal on the images of the choice the full sweep takes the first; so a regret may be negative. Time
 * is that of training, on the clock and of all the process's threads.
 */
import { parseArgs } from "node:util";

import { prepareBackend } from "../lib/backend/backend.js";
import { openFeatures } from "../lib/features/open-features.js";
import type { EvalLinearOptions } from "../lib/protocols/linear/linear.js";
import { evalLinear } from "../lib/protocols/linear/linear.js";
import type { ResultRecord } from "../lib/results/record.js";
import { syntheticClasses } from "./synthetic-classes.js";

const lr = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3];
const weightDecay = [0, 1e-5, 1e-4, 5e-4, 1e-3, 1e-2];

interface Timed {
  record: ResultRecord;
  clock: number;
  processor: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      synthetic: { type: "string", default: "12" },
      first: { type: "string", default: "0" },
      images: { type: "string", default: "20000" },
      classes: { type: "string", default: "100" },
      widths: { type: "string", default: "768,1024,1280" },
      features: { type: "string", multiple: true, default: [] },
      layers: { type: "string" },
      heads: { type: "string", default: "fc" },
      seeds: { type: "string", default: "0,1" },
      epochs: { type: "string", default: "28" },
      device: { type: "string", default: "native" },
      processes: { type: "string" },
    },
  });
  const { device, tensorflow } = await prepareBackend({ device: values.device as "native" | "wasm" });
  const epochs = Number(values.epochs);
  console.log(`${device} ${tensorflow ?? ""}; ${lr.length * weightDecay.length} settings, ${epochs} epochs`);
  console.log(
    "data set                                           trained          full   halved  regret  same     full, s    time",
  );
  const common: Omit<EvalLinearOptions, "features"> = {
    optimizer: { lr, weightDecay, momentum: 0.9, nesterov: true },
    schedule: {
      kind: "multistep",
      milestones: [2, 4, 6].map((sevenths) => Math.round((epochs * sevenths) / 7)),
      gamma: 0.1,
    },
    epochs,
    testFraction: 0.4,
    valFraction: 0.25,
    processes: values.processes === undefined ? undefined : Number(values.processes),
  };
  const sizes = { images: Number(values.images), classes: numbers(values.classes), widths: numbers(values.widths) };
  // Once for the warm-up of the backend.
  const { features } = await syntheticClasses(0, { images: 1000, classes: [10], widths: [64] });
  await evalLinear({ ...common, features, schedule: { kind: "constant" }, epochs: 1 });
  const regrets: number[] = [];
  const compare = async (name: string, options: EvalLinearOptions) => {
    const full = await timed({ ...common, ...options, search: "grid" });
    const halved = await timed({ ...common, ...options, search: "halving" });
    full.record.results.forEach((best, i) => {
      const found = halved.record.results[i]!;
      const regret = 100 * (top1(best) - top1(found));
      regrets.push(regret);
      const columns = [
        `${name} ${best.head}`.padEnd(50),
        trainedIn(found).padEnd(16),
        (100 * top1(best)).toFixed(2).padStart(6),
        (100 * top1(found)).toFixed(2).padStart(7),
        regret.toFixed(2).padStart(7),
        (JSON.stringify(best.chosen) === JSON.stringify(found.chosen) ? "yes" : "no").padStart(6),
        `${full.clock.toFixed(0)}, ${full.processor.toFixed(0)}`.padStart(10),
        `${percent(halved.clock / full.clock)}, ${percent(halved.processor / full.processor)}`.padStart(12),
      ];
      console.log(columns.join(" "));
    });
  };

  for (const spec of values.features) {
    const features = await openFeatures({
      spec,
      layers: spec.startsWith("npy:") ? undefined : values.layers?.split(","),
    });
    for (const seed of numbers(values.seeds)) {
      for (const layer of features.splits.all!.layers.map(({ name }) => name)) {
        for (const head of values.heads.split(",")) {
          const options = { features, layers: [layer], heads: [head], seeds: [seed], splitSeed: seed };
          await compare(`${features.data.name} ${layer} seed ${seed}`, options);
        }
      }
    }
    await features.close();
  }
  const first = Number(values.first);
  for (let seed = first; seed < first + Number(values.synthetic); seed++) {
    const { name, features } = await syntheticClasses(seed, sizes);
    await compare(name, { features, seeds: [seed], splitSeed: seed, heads: [seed % 8 < 4 ? "fc" : "bn_fc"] });
    await features.close();
  }

  const mean = regrets.reduce((sum, regret) => sum + regret, 0) / regrets.length;
  const most = Math.max(...regrets).toFixed(2);
  console.log(`regret of ${regrets.length} data sets: mean ${mean.toFixed(2)}, most ${most} points`);
}

async function timed(options: EvalLinearOptions): Promise<Timed> {
  const before = process.cpuUsage();
  const record = await evalLinear(options);
  const { user, system } = process.cpuUsage(before);
  return { record, clock: record.timings.train, processor: (user + system) / 1e6 };
}

/** How many settings were trained for how many epochs at least: `48×1 12×6 3×28`. */
function trainedIn({ trials }: ResultRecord["results"][number]): string {
  const epochs = [...new Set(trials.map(({ epochsRun = 0 }) => epochsRun))].sort((a, b) => a - b);
  return epochs.map((count) => `${trials.filter(({ epochsRun = 0 }) => epochsRun >= count).length}×${count}`).join(" ");
}

function top1({ metrics }: ResultRecord["results"][number]): number {
  return metrics.top1!.mean;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

function numbers(text: string): number[] {
  return text.split(",").map(Number);
}

void main();
