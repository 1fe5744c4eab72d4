import { prepareBackend } from "../../lib/backend/backend.js";
import { loadBackbone } from "../../lib/backbones/backbone.js";
import { openDataset } from "../../lib/datasets/open.js";
import { extractFeatures } from "../../lib/features/extract.js";

/**
 * Extracts every tap of some backbones in a process of its own, for a graphics driver may end it:
 * `node extract-on-webgpu.js PHOTOS ROOT BACKBONE...` says which GPU it was.
 */
async function main([photos, root, ...backbones]: string[]): Promise<void> {
  const { gpu } = await prepareBackend({ device: "webgpu" });
  const dataset = await openDataset({ spec: `folder:${photos}` });
  for (const dir of backbones) {
    const backbone = await loadBackbone({ dir });
    const { height, width } = backbone.manifest.input;
    const transform = `resize(${height}x${width},bilinear)|normalize(imagenet)`;
    const features = await extractFeatures({ backbone, dataset, root, transform, batchSize: 4, workers: 1 });
    await features.close();
    backbone.dispose();
  }
  process.stdout.write(`${gpu}\n`);
}

void main(process.argv.slice(2));
