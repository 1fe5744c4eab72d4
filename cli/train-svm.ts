import path from "node:path";

import type { TrainLowShotSvmOptions } from "../lib/protocols/low-shot/low-shot-svm.js";
import type { ResultRecord } from "../lib/results/record.js";
import { svmSettings } from "../lib/settings/svm.js";
import { command } from "./command.js";
import { openFeatureSet } from "./features.js";
import { checkLabels, tellTranslation } from "./published.js";

/** Settings that say where things are or how the work is done, and change no number: not part of the configuration. */
const withoutEffect = [
  "out",
  "device",
  "threads",
  "workers",
  "lookAhead",
  "processes",
  "featuresRoot",
  "imageBatchSize",
];

export const trainSvm = command(svmSettings, async (settings, context) => {
  tellTranslation(context);
  const { formatTable } = await import("../lib/results/table.js");
  const { layerFileName, layersOf } = await import("../lib/results/wording.js");
  const { svmTransform } = await import("../lib/protocols/svm/transform.js");
  const features = await openFeatureSet(settings, context, svmTransform);
  try {
    checkLabels(features, context);
    const { title, arch } = features.backbone ?? { title: "own", arch: "features" };
    const out =
      settings.out ??
      path.join("runs", `${title}-${arch}-${features.data.name}`, settings.lowShot ? "svm-low-shot" : "svm");
    const told = Object.entries(settings).filter(([key]) => !withoutEffect.includes(key));
    const published = context.protocol ? { protocol: context.protocol } : {};
    const record = await trained({
      ...settings,
      ...context,
      features,
      layers: undefined,
      out,
      settings: { ...published, ...Object.fromEntries(told) },
    });
    const table = formatTable(record, { kind: "text", color: process.stdout.isTTY });
    const files = settings.lowShot ? "low_shot.svg, low_shot.csv" : "table.csv, depth.svg";
    const folders = layersOf(record).map((layer) => `${layerFileName(layer)}/`);
    return {
      text: `\n${table}\nIn ${out}: result.json, table.md, ${files}; VISSL's files in ${folders.join(", ")}\n`,
      json: record,
    };
  } finally {
    await features.close();
  }
});

async function trained(options: TrainLowShotSvmOptions): Promise<ResultRecord> {
  if (options.lowShot) return (await import("../lib/protocols/low-shot/low-shot-svm.js")).trainLowShotSvm(options);
  return (await import("../lib/protocols/svm/svm.js")).trainSvm(options);
}
