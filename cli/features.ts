import type { Backbone } from "../lib/backbones/backbone.js";
import type { LayerEntry } from "../lib/backbones/layers.js";
import type { BackboneManifest } from "../lib/backbones/manifest.js";
import type { Dataset } from "../lib/datasets/dataset.js";
import { expected } from "../lib/errors.js";
import type { FeatureSet } from "../lib/features/feature-set.js";
import type { LiveFeaturesOptions } from "../lib/features/live.js";
import type { ExtractionSettings } from "../lib/settings/extraction.js";
import type { LogregSettings } from "../lib/settings/logreg.js";
import type { SvmSettings } from "../lib/settings/svm.js";
import { prepare } from "./backend.js";
import type { CommandContext } from "./command.js";

/** Opens what an extraction works on, prepares what computes, and names its settings as the library does. */
export async function openExtraction(
  settings: Omit<ExtractionSettings, "splits" | "dryRun"> &
    Pick<Partial<ExtractionSettings>, "splits"> & { trainTransform?: string },
  context: CommandContext,
): Promise<{ options: LiveFeaturesOptions; backbone: Backbone; dataset: Dataset }> {
  const { progress, signal } = context;
  const { readTaps } = await import("../lib/backbones/read-taps.js");
  const { openDataset } = await import("../lib/datasets/open.js");
  // A wrong backbone is told before images are listed, and both before anything is loaded.
  await readTaps({ dir: settings.backbone });
  const dataset = await openDataset({ spec: settings.data, progress });
  await prepare(settings, context);
  const { loadBackbone } = await import("../lib/backbones/backbone.js");
  const backbone = await loadBackbone({ dir: settings.backbone, computePrecision: settings.computePrecision });
  const { featuresRoot: root, imageBatchSize: batchSize, computePrecision: _, ...rest } = settings;
  return { options: { ...rest, backbone, dataset, root, batchSize, progress, signal }, backbone, dataset };
}

/**
 * The features of a protocol that takes all images in one view: those that are there, or extracted now.
 *
 * @param transformOf the protocol's transform for a backbone, where the user wants no other.
 */
export async function openFeatureSet(
  settings: SvmSettings | LogregSettings,
  context: CommandContext,
  transformOf: (manifest: BackboneManifest) => string,
): Promise<FeatureSet> {
  const { backbone, data, features } = settings;
  if (features !== undefined) return openStored({ ...settings, features }, context);
  // The check of the settings has asked for both where there are no features.
  if (backbone === undefined || data === undefined) throw new Error("the settings' own check asks for both");
  const { extractFeatures } = await import("../lib/features/extract.js");
  const { options, backbone: opened } = await openExtraction({ ...settings, backbone, data }, context);
  return extractFeatures({ ...options, transform: settings.transform ?? transformOf(opened.manifest) });
}

/** Features that are there. What computes is prepared when they are known to be. */
export async function openStored(
  settings: Pick<SvmSettings, "testFeatures" | "layers" | "device" | "threads"> & { features: string },
  context: CommandContext,
): Promise<FeatureSet> {
  const { openFeatures } = await import("../lib/features/open-features.js");
  const { features: spec, testFeatures: testSpec, layers } = settings;
  const features = await openFeatures({ spec, testSpec, layers: layers.map(layerName) });
  try {
    await prepare(settings, context);
  } catch (error) {
    await features.close();
    throw error;
  }
  return features;
}

/** Of features that are there only layers are named. */
function layerName(layer: LayerEntry): string {
  if (typeof layer === "string") return layer;
  throw expected("names of layers", "--layers with --features", layer, "Stored features are pooled already.");
}
