import path from "node:path";

import { npyRows, OpenFiles } from "./row-reader.js";
import { rowSource, unknownLayer } from "./row-source.js";
import type { FeatureSource } from "./source.js";
import { sameLayer } from "./store-format.js";
import type { LayerSpec, StoredLayer } from "./store-format.js";
import { product } from "./npy.js";
import { checkShard } from "./store.js";
import type { FeatureStore } from "./store.js";

/**
 * Features out of a store (`openStore`). Every shard is compared with its digest when it is first read.
 *
 * @param options.layers which, and in which order; by the name that the store knows, or as they were asked for from the
 * backbone. Default: all.
 * @param options.residentBytes layers that take at most so many bytes together (as float32) are held as tensors; larger
 * ones are read from disk in every pass, with the same values. Default: a quarter of the machine's memory.
 * @throws UserError where the store lacks a layer, or a shard was changed (then also during a pass).
 */
export async function openStoredSource(options: {
  store: FeatureStore;
  layers?: (string | LayerSpec)[];
  residentBytes?: number;
}): Promise<FeatureSource> {
  const { store, residentBytes } = options;
  const wanted = (options.layers ?? store.layers).map((asked) => find(store, asked));
  const open = new OpenFiles();
  return rowSource({
    layers: wanted.map(({ name, layer }) => {
      const width = product(layer.shape);
      const files = layer.shards.map(({ file, rows }, index) => ({
        file: path.join(store.folder, layer.folder, file),
        rows,
        check: () => checkShard({ folder: store.folder, layer, index }),
      }));
      return { layer: { name, shape: layer.shape, width }, reader: npyRows({ files, width, open }) };
    }),
    targets: store.targets,
    ids: store.ids,
    origin: {
      kind: "store",
      folder: store.folder,
      key: store.key,
      dataset: { name: store.dataset.name, split: store.dataset.split, size: store.dataset.size },
      skipped: store.skipped,
    },
    stored: {
      folder: store.folder,
      layers: wanted.map(({ name, layer: { tap, pooling, node, shape } }) => ({ name, tap, pooling, node, shape })),
    },
    release: () => open.close(),
    residentBytes,
  });
}

function find(store: FeatureStore, asked: string | LayerSpec): { name: string; layer: StoredLayer } {
  const name = typeof asked === "string" ? asked : asked.name;
  const layer = store.layers.find((other) =>
    typeof asked === "string" ? other.name === asked || other.folder === asked : sameLayer(other, asked),
  );
  if (layer) return { name, layer };
  throw unknownLayer(
    name,
    store.layers.map((other) => other.name),
  );
}
