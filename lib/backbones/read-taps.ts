import { openGraphFiles } from "./graph-files.js";
import { graphOf } from "./graph.js";
import { readManifest } from "./manifest-file.js";
import type { Tap } from "./manifest.js";

/**
 * The taps of a backbone, without its weights.
 *
 * @param options.dir as `loadBackbone` takes it.
 * @throws UserError where model or manifest are missing or wrong.
 */
export async function readTaps({ dir }: { dir: string }): Promise<Tap[]> {
  const files = await openGraphFiles(dir);
  const { taps } = await readManifest({ file: files.manifestFile, graph: graphOf(files.json) });
  return taps;
}
