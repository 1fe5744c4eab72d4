import { bytes, counted, duration } from "../lib/progress.js";
import { parsePart } from "../lib/features/store-part.js";
import { parseLaunch } from "../lib/launch/place.js";
import { extractionSettings, type ExtractionSettings } from "../lib/settings/extraction.js";
import { command, type CommandContext, type CommandReport } from "./command.js";
import { openExtraction } from "./features.js";

export const extractFeatures = command(extractionSettings, async ({ launch, slurm, ...settings }, context) => {
  if (launch !== undefined) return launched(settings, { launch, slurm }, context);
  const { shard, ...extraction } = settings;
  const opened = await openExtraction(extraction, context);
  const options = { ...opened.options, part: shard === undefined ? undefined : parsePart(shard) };
  if (settings.dryRun) {
    const { planExtraction } = await import("../lib/features/extraction-plan.js");
    const { layers, images, imagesPerSecond, ...plan } = await planExtraction(options);
    const time = imagesPerSecond === undefined ? "" : `, about ${duration(images / imagesPerSecond)}`;
    return {
      text: `${images} images to extract${time}; ${layers.length} layers, ${bytes(plan.bytes)} on disk`,
      json: { ...plan, images, imagesPerSecond, layers: layers.map(({ name, shape }) => ({ name, shape })) },
    };
  }
  const { extractFeatures: extract } = await import("../lib/features/extract.js");
  const features = await extract(options);
  const { images, seconds, execution, batchSize, processes = 1, threads = 1 } = features.extraction;
  const stores = Object.values(features.splits).map(({ origin, size }) => ({ folder: origin.folder as string, size }));
  await features.close();
  const nothing = stores.length === 0 ? "This part has no images." : "All was there.";
  const how = execution === "session" ? "in TensorFlow's session" : execution;
  const done =
    images === 0
      ? nothing
      : `${counted(images, "image")}, ${(images / seconds).toFixed(1)} a second, ${how}, ${batchSize} at once, ${processes === 1 ? "" : `${processes} processes of `}${counted(threads, "thread")}.`;
  const skipped = features.skipped.length === 0 ? "" : ` Left out: ${counted(features.skipped.length, "bad image")}.`;
  return {
    text: [`${done}${skipped}`, ...stores.map(({ folder, size }) => `${folder}: ${counted(size, "image")}`)].join("\n"),
    json: { stores, extraction: features.extraction, skipped: features.skipped },
  };
});

/** Extraction by jobs, each of which is this command with a shard. */
async function launched(
  settings: Omit<ExtractionSettings, "launch" | "slurm">,
  { launch, slurm }: { launch: string; slurm: ExtractionSettings["slurm"] },
  { progress, signal }: CommandContext,
): Promise<CommandReport> {
  const { openDataset } = await import("../lib/datasets/open.js");
  const { describeBackbone } = await import("../lib/backbones/backbone.js");
  const { launchExtraction } = await import("../lib/features/launched-extraction.js");
  const { printSettings } = await import("../lib/settings/print.js");
  const { threads, featuresRoot: root, backbone, computePrecision, data, ...rest } = settings;
  const given = { ...settings, threads: undefined, workers: undefined };
  const stores = await launchExtraction({
    ...rest,
    root,
    threads,
    slurm,
    backbone: await describeBackbone({ dir: backbone, computePrecision }),
    dataset: await openDataset({ spec: data, progress }),
    place: parseLaunch(launch),
    settings: (missing) => printSettings({ settings: { ...given, ...missing } }),
    progress,
    signal,
  });
  return {
    text: stores.map(({ folder, size }) => `${folder}: ${counted(size, "image")}`).join("\n"),
    json: { stores: stores.map(({ folder, size, skipped }) => ({ folder, size, skipped })) },
  };
}
