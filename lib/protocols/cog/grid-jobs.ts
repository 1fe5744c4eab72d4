import fs from "node:fs/promises";
import path from "node:path";

import { openFeatures } from "../../features/open-features.js";
import { exists } from "../../files.js";
import type { Numbers } from "../../search/range.js";
import { type GridOptions, type GridRun, lastLayer } from "./grid.js";
import { logregProtocolOf } from "./protocol.js";

/**
 * A run of the grid as a command of this program, for a process or a machine of its own. What it leaves in its folder
 * is what the grid would have left there.
 */
export async function runArguments(run: GridRun, options: Pick<GridOptions, "layer" | "protocol">): Promise<string[]> {
  const { features, shots, out } = run;
  const { layer = await lastLayerAt(features) } = options;
  const protocol = logregProtocolOf(options.protocol ?? {});
  const values = {
    features,
    layers: layer,
    ...(shots !== undefined && { shots }),
    out,
    seeds: protocol.seeds.join(),
    methods: protocol.methods.join(),
    search: protocol.search,
    trials: protocol.trials,
    lr: textOf(protocol.lr),
    "weight-decay": textOf(protocol.weightDecay),
    penalties: textOf(protocol.penalties),
    epochs: protocol.epochs,
    "batch-size": protocol.batchSize,
    "val-fraction": protocol.valFraction,
    "test-fraction": protocol.testFraction,
  };
  const flags = Object.entries(values).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const { normalize, asPublished } = protocol;
  return [
    "eval-logreg",
    ...flags,
    ...(normalize ? [] : ["--no-normalize"]),
    ...(asPublished ? ["--as-published"] : []),
  ];
}

/** How many of its seeds a run has finished: less than all until its record is whole. */
export async function finishedSeeds({ out }: GridRun, { protocol }: Pick<GridOptions, "protocol">): Promise<number> {
  const { seeds, methods } = logregProtocolOf(protocol ?? {});
  if (await exists(path.join(out, "result.json"))) return seeds.length;
  const units = await fs.readdir(path.join(out, "training")).catch(() => []);
  const done = units.filter((name) => name.endsWith(".json")).length / methods.length;
  return Math.min(Math.floor(done), seeds.length - 1);
}

async function lastLayerAt(spec: string): Promise<string> {
  const features = await openFeatures({ spec });
  try {
    return lastLayer(features);
  } finally {
    await features.close();
  }
}

function textOf(numbers: Numbers): string {
  if (Array.isArray(numbers)) return numbers.join();
  const { from, to, scale, count } = numbers;
  return `${scale}(${[from, to, ...(count === undefined ? [] : [count])].join()})`;
}
