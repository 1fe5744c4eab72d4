/**
 * Successive halving beside the full sweep, on the same splits: what each chooses, and how long it takes.
 *
 *     node dist/bench/halving.js [--features DIR|npy:X,Y ...] [--layers a,b] [--seeds 0,1] [--synthetic 12]
 *                                [--epochs 28] [--device native] [--processes n]
 *
 * A data set is a layer of the features under a head and a seed (of splits, initial weights and orders), or a synthetic
 * one. Of two settings that are equal on the images of the choice the full sweep takes the first; so a regret may be
 * negative, and its mean is what counts.
 */
import { parseArgs } from "node:util";

import { prepareBackend } from "../lib/backend/backend.js";
import { openFeatures } from "../lib/features/open-features.js";
import type { EvalLinearOptions } from "../lib/protocols/linear.js";
import { evalLinear } from "../lib/protocols/linear.js";
import type { ResultRecord } from "../lib/results/record.js";
import { planHalving } from "../lib/search/halving.js";
import { syntheticClasses } from "./synthetic-classes.js";

const lr = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3];
const weightDecay = [0, 1e-5, 1e-4, 1e-3];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      features: { type: "string", multiple: true, default: [] },
      layers: { type: "string" },
      seeds: { type: "string", default: "0,1" },
      synthetic: { type: "string", default: "12" },
      epochs: { type: "string", default: "28" },
      device: { type: "string", default: "native" },
      processes: { type: "string" },
    },
  });
  const { device, tensorflow } = await prepareBackend({ device: values.device as "native" | "wasm" });
  const epochs = Number(values.epochs);
  const candidates = lr.length * weightDecay.length;
  const { rungs, cost } = planHalving({ candidates, epochs });
  const planned = rungs.map((rung) => `${rung.trials} × ${rung.epochs}`).join(", ");
  console.log(`${device} ${tensorflow ?? ""}; ${candidates} candidates, ${epochs} epochs`);
  console.log(`rungs (trials × epochs) ${planned}: ${(100 * cost).toFixed(1)} % of the full sweep's work`);
  console.log("data set                                                full   halved  regret   same   time");
  const common: Omit<EvalLinearOptions, "features"> = {
    optimizer: { lr, weightDecay, momentum: 0.9, nesterov: true },
    schedule: {
      kind: "multistep",
      milestones: [2, 4, 6].map((sevenths) => Math.round((epochs * sevenths) / 7)),
      gamma: 0.1,
    },
    epochs,
    processes: values.processes === undefined ? undefined : Number(values.processes),
  };
  // Once for the warm-up of the backend.
  const { features } = await syntheticClasses(0);
  await evalLinear({ ...common, features, schedule: { kind: "constant" }, epochs: 1 });
  const regrets: number[] = [];
  const seconds = { grid: 0, halving: 0 };
  const compare = async (name: string, options: EvalLinearOptions) => {
    const [grid, halving] = [await evalLinear({ ...common, ...options, search: "grid" }), await evalLinear({ ...common, ...options, search: "halving" })]; // prettier-ignore
    seconds.grid += grid.timings.train;
    seconds.halving += halving.timings.train;
    grid.results.forEach((full, i) => {
      const halved = halving.results[i]!;
      const regret = 100 * (top1(full) - top1(halved));
      regrets.push(regret);
      const columns = [
        `${name} ${full.layer} ${full.head}`.padEnd(53),
        (100 * top1(full)).toFixed(2).padStart(6),
        (100 * top1(halved)).toFixed(2).padStart(8),
        regret.toFixed(2).padStart(7),
        (JSON.stringify(full.chosen) === JSON.stringify(halved.chosen) ? "yes" : "no").padStart(6),
        `${((100 * halving.timings.train) / grid.timings.train).toFixed(0)} %`.padStart(6),
      ];
      console.log(columns.join(" "));
    });
  };

  for (const spec of values.features) {
    const features = await openFeatures({
      spec,
      layers: spec.startsWith("npy:") ? undefined : values.layers?.split(","),
    });
    for (const seed of values.seeds.split(",").map(Number)) {
      await compare(`${features.data.name} seed ${seed}`, { features, seeds: [seed], splitSeed: seed });
    }
    await features.close();
  }
  for (let seed = 0; seed < Number(values.synthetic); seed++) {
    const { name, features } = await syntheticClasses(seed);
    await compare(name, { features, seeds: [seed], splitSeed: seed, heads: [seed % 8 < 4 ? "fc" : "bn_fc"] });
    await features.close();
  }

  const mean = regrets.reduce((sum, regret) => sum + regret, 0) / regrets.length;
  const deviation = Math.sqrt(regrets.reduce((sum, regret) => sum + (regret - mean) ** 2, 0) / (regrets.length - 1));
  const error = (deviation / Math.sqrt(regrets.length)).toFixed(2);
  console.log(`mean regret ${mean.toFixed(2)} ± ${error} points (standard error) over ${regrets.length} data sets`);
  const share = ((100 * seconds.halving) / seconds.grid).toFixed(1);
  console.log(`time ${share} % of the full sweep's (${seconds.halving.toFixed(1)} of ${seconds.grid.toFixed(1)} s)`);
}

function top1({ metrics }: ResultRecord["results"][number]): number {
  return metrics.top1!.mean;
}

void main();
