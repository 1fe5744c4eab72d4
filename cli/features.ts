import type { Backbone } from "../lib/backbones/backbone.js";
import type { Dataset } from "../lib/datasets/dataset.js";
import type { LiveFeaturesOptions } from "../lib/features/live.js";
import type { ExtractionSettings } from "../lib/settings/extraction.js";
import type { CommandContext } from "./command.js";

/** Opens what an extraction works on, and names its settings as the library does. */
export async function openExtraction(
  settings: Omit<ExtractionSettings, "splits" | "dryRun"> &
    Pick<Partial<ExtractionSettings>, "splits"> & { trainTransform?: string },
  { progress, signal }: CommandContext,
): Promise<{ options: LiveFeaturesOptions; backbone: Backbone; dataset: Dataset }> {
  const { loadBackbone } = await import("../lib/backbones/backbone.js");
  const { openDataset } = await import("../lib/datasets/open.js");
  const dataset = await openDataset({ spec: settings.data, progress });
  const backbone = await loadBackbone({ dir: settings.backbone, computePrecision: settings.computePrecision });
  const { featuresRoot: root, imageBatchSize: batchSize, computePrecision: _, ...rest } = settings;
  return { options: { ...rest, backbone, dataset, root, batchSize, progress, signal }, backbone, dataset };
}
