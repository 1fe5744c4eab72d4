import path from "node:path";

import type { FeatureSet } from "../lib/features/feature-set.js";
import type { LinearProtocol } from "../lib/protocols/linear/linear.js";
import { linearSettings, type LinearSettings } from "../lib/settings/linear.js";
import { trainingOf } from "../lib/settings/training.js";
import { command, type CommandContext } from "./command.js";
import { openExtraction, openStored } from "./features.js";
import { checkLabels, tellTranslation } from "./published.js";

/** Settings that say where things are or how the work is done, and change no number: not part of the configuration. */
const withoutEffect = [
  "out",
  "dryRun",
  "device",
  "threads",
  "workers",
  "lookAhead",
  "featuresRoot",
  "imageBatchSize",
  "processes",
  "checkpointEvery",
];

export const evalLinear = command(linearSettings, async (given, context) => {
  const settings = await withLayerNames(given);
  tellTranslation(context);
  const { evalLinear: evaluate } = await import("../lib/protocols/linear/linear.js");
  const { formatTable } = await import("../lib/results/table.js");
  if (settings.dryRun) return plan(settings, context);
  const features = await featuresOf(settings, context);
  try {
    checkLabels(features, context);
    const { title, arch } = features.backbone ?? { title: "own", arch: "features" };
    const out = settings.out ?? path.join("runs", `${title}-${arch}-${features.data.name}`, "linear");
    const told = Object.entries(settings).filter(([key]) => !withoutEffect.includes(key));
    const published = context.protocol ? { protocol: context.protocol } : {};
    const record = await evaluate({
      ...protocolOf(settings),
      ...context,
      features,
      layers: await evaluatedLayers(settings, features),
      out,
      settings: { ...published, ...Object.fromEntries(told) },
    });
    const table = formatTable(record, { kind: "text", color: process.stdout.isTTY });
    return {
      text: `\n${table}\nIn ${out}: result.json, table.md, depth.svg, depth.png, predictions, heads\n`,
      json: record,
    };
  } finally {
    await features.close();
  }
});

/**
 * Where heads choose their layers, or layers are joined: all of them as the features name them, without a pooling that
 * is the tap's own.
 */
async function withLayerNames(settings: LinearSettings): Promise<LinearSettings> {
  const { backbone, layers, heads } = settings;
  const joined = layers.some((layer) => typeof layer === "string" && layer.includes("+"));
  const chosen = heads.some((head) => typeof head === "object" && head.layers !== undefined);
  if (backbone === undefined || areThere(settings) || !(joined || chosen)) return settings;
  const { readTaps } = await import("../lib/backbones/read-taps.js");
  const { layerName: nameOn, parseLayers } = await import("../lib/backbones/layers.js");
  const taps = await readTaps({ dir: backbone });
  const named = (name: string) => nameOn({ text: name, taps });
  const isJoined = (layer: LinearSettings["layers"][number]) => typeof layer === "string" && layer.includes("+");
  const names = layers.flatMap((layer) =>
    isJoined(layer) ? named(layer as string) : parseLayers({ text: [layer], taps }).map(({ name }) => name),
  );
  return {
    ...settings,
    layers: [...new Set(names)],
    heads: heads.map((head) =>
      typeof head === "object" && head.layers ? { ...head, layers: head.layers.map(named) } : head,
    ),
  };
}

async function featuresOf(settings: LinearSettings, context: CommandContext): Promise<FeatureSet> {
  if (areThere(settings)) return openStored({ ...settings, layers: readLayers(settings) }, context);
  const { options } = await openExtraction(imagesOf(settings), context);
  const { views } = settings;
  if (settings.features === "live" || views !== undefined) {
    const { liveFeatures, viewFeatures } = await import("../lib/features/live.js");
    return views === undefined ? liveFeatures(options) : viewFeatures({ ...options, views });
  }
  const { extractFeatures } = await import("../lib/features/extract.js");
  return extractFeatures(options);
}

/** Whether the features are stored ones of the user's. */
function areThere(settings: LinearSettings): settings is LinearSettings & { features: string } {
  return settings.features !== undefined && settings.features !== "live" && settings.features !== "stored";
}

async function plan(settings: LinearSettings, context: CommandContext) {
  const { formatLinearPlan, planLinear } = await import("../lib/protocols/linear/plan.js");
  const linear = await planLinear({ ...(await workOf(settings, context)), settings: protocolOf(settings) });
  return { text: formatLinearPlan(linear), json: linear };
}

/** What there is to extract, and what to train on. */
async function workOf(settings: LinearSettings, context: CommandContext) {
  const { testFraction, views } = settings;
  if (areThere(settings)) {
    const features = await featuresOf(settings, context);
    const { splits, classes } = features;
    await features.close();
    const whole = (splits.train ?? splits.all)!;
    const named = Object.values(splits).map(({ size }) => ({ images: size }));
    return {
      extraction: { layers: whole.layers, splits: named, images: 0, bytes: 0 },
      classes: classes.length,
      trainingImages: Math.round(whole.size * (splits.train ? 1 : 1 - testFraction)),
    };
  }
  const { planExtraction } = await import("../lib/features/extraction-plan.js");
  const { options, dataset } = await openExtraction(imagesOf(settings), context);
  const { train, all } = dataset.splits;
  const trainingImages = Math.round((train ?? all)!.size * (train ? 1 : 1 - testFraction));
  const passes = settings.features === "live" ? settings.epochs * settings.seeds.length : 0;
  return {
    extraction: await planExtraction({ ...options, views, liveImages: passes * trainingImages }),
    classes: dataset.classes.length,
    trainingImages,
  };
}

function protocolOf(settings: LinearSettings): LinearProtocol {
  return { ...settings, ...trainingOf(settings) };
}

/** The check of the settings has asked for both where there are no features. */
function imagesOf(settings: LinearSettings) {
  const { backbone, data } = settings;
  if (backbone === undefined || data === undefined) throw new Error("the settings' own check asks for both");
  return { ...settings, backbone, data, layers: readLayers(settings) };
}

/** The layers that have to be read: joined ones (`a+b`) piece by piece. */
function readLayers({ layers }: LinearSettings): LinearSettings["layers"] {
  return layers.flatMap<LinearSettings["layers"][number]>((layer) => (isJoined(layer) ? layer.split("+") : [layer]));
}

/** Names of the layers that get heads; undefined for all that are read. */
async function evaluatedLayers({ layers }: LinearSettings, { splits }: FeatureSet): Promise<string[] | undefined> {
  const { matchNames } = await import("../lib/backbones/layers.js");
  const joined = layers.filter(isJoined);
  if (joined.length === 0) return undefined;
  const pieces = new Set(joined.flatMap((layer) => layer.split("+")));
  const names = (splits.train ?? splits.all)!.layers.map(({ name }) => name);
  const asked = layers.flatMap((layer) =>
    typeof layer === "string" && !isJoined(layer) ? matchNames({ pattern: layer, names, of: "the features" }) : [],
  );
  return [...names.filter((name) => !pieces.has(name) || asked.includes(name)), ...joined];
}

function isJoined(layer: LinearSettings["layers"][number]): layer is string {
  return typeof layer === "string" && layer.includes("+");
}
