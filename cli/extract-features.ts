import { bytes, duration } from "../lib/progress.js";
import { parsePart } from "../lib/features/store-part.js";
import { extractionSettings } from "../lib/settings/extraction.js";
import { command } from "./command.js";
import { openExtraction } from "./features.js";

export const extractFeatures = command(extractionSettings, async (settings, context) => {
  const { prepareBackend } = await import("../lib/backend/backend.js");
  await prepareBackend({ ...settings, warn: (line) => context.progress.note(line) });
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
  const { images, seconds } = features.extraction;
  const stores = Object.values(features.splits).map(({ origin, size }) => ({ folder: origin.folder as string, size }));
  await features.close();
  const nothing = stores.length === 0 ? "This part has no images." : "All was there.";
  const done = images === 0 ? nothing : `${images} images, ${(images / seconds).toFixed(1)} a second.`;
  const skipped = features.skipped.length === 0 ? "" : ` ${features.skipped.length} bad images were left out.`;
  return {
    text: [`${done}${skipped}`, ...stores.map(({ folder, size }) => `${folder}: ${size} images`)].join("\n"),
    json: { stores, extraction: features.extraction, skipped: features.skipped },
  };
});
