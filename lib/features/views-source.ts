import { UserError } from "../errors.js";
import { random } from "../random.js";
import type { FeatureBatch, FeaturePass, FeatureSource } from "./source.js";
import type { LayerSpec } from "./store-format.js";
import type { FeatureStore } from "./store.js";
import { openStoredSource } from "./stored-source.js";

/**
 * Augmented views that were stored: in a pass with draws an image is one of its views, which of them follows from its
 * draw and row, each as often as the others; in a pass without draws it is the image without augmentation.
 *
 * @param options.store of views (its key names their number).
 * @param options.plain features of the same images without augmentation. It is closed with this source.
 * @param options.positions where each image of `plain` stands in the split.
 * @throws UserError where the store lacks a view of an image.
 */
export async function openViewsSource(options: {
  store: FeatureStore;
  layers: LayerSpec[];
  plain: FeatureSource;
  positions: Uint32Array;
  residentBytes?: number;
}): Promise<FeatureSource> {
  const { store, layers, plain, positions, residentBytes } = options;
  const { views } = store.key;
  if (!views) throw new Error(`${store.folder} holds no views`);
  const places = placesOf(store);
  for (const position of positions) {
    for (let view = 0; view < views.count; view++) {
      if (places[position * views.count + view] === -1) throw lost(store, position * views.count + view);
    }
  }
  const inner = await openStoredSource({ store, layers, residentBytes });
  const viewOf = (row: number, draw: number) => random(draw, "view", row).integer(views.count);
  return {
    size: plain.size,
    layers: plain.layers,
    targets: plain.targets,
    ids: plain.ids,
    origin: { ...inner.origin, kind: "views", plain: plain.origin },
    pass: (pass) => {
      const { rows, draws } = pass;
      if (draws === undefined) return plain.pass(pass);
      if (draws.length !== rows.length) throw new Error(`${draws.length} draws for ${rows.length} rows`);
      const chosen = rows.map((row, i) => places[positions[row]! * views.count + viewOf(row, draws[i]!)]!);
      return named(inner.pass({ ...pass, rows: chosen }), rows);
    },
    close: async () => {
      await inner.close();
      await plain.close();
    },
  };
}

/** The row of the store that holds each view; −1 where it was skipped. */
function placesOf({ dataset, skipped }: FeatureStore): Int32Array {
  const places = new Int32Array(dataset.size);
  for (const { row } of skipped) places[row] = -1;
  let next = 0;
  return places.map((place) => (place === -1 ? -1 : next++));
}

/** The batches with the images' own rows. */
async function* named(batches: AsyncIterable<FeatureBatch>, rows: FeaturePass["rows"]): AsyncGenerator<FeatureBatch> {
  let at = 0;
  for await (const { rows: some, features } of batches) {
    yield { rows: rows.slice(at, at + some.length), features };
    at += some.length;
  }
}

function lost({ skipped, folder }: FeatureStore, row: number): UserError {
  const { id, reason } = skipped.find((one) => one.row === row)!;
  return new UserError(`Expected every view of every image in ${folder} but ${id} was skipped: ${reason}`, {
    hint: `The image itself can be read: delete ${folder} and run again, or change --train-transform.`,
  });
}
