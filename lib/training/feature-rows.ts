import * as tf from "@tensorflow/tfjs";

import { expected } from "../errors.js";
import { headInput } from "../heads/input.js";
import { withOnes } from "../heads/training-input.js";
import type { LogisticRows } from "../logistic/problem.js";
import type { Part } from "./job.js";

export interface FeatureRowsOptions extends Part {
  layer: string;
  /** Whether each row is divided by its length (or by 1e-12, if that is more), as CoG does. Default: false. */
  normalize?: boolean;
}

/**
 * One layer's features as rows of logistic regression. Every pass asks the source for them anew, block by block, so
 * they may be more than memory holds.
 *
 * @throws UserError where the source has no such layer.
 */
export function featureRows({ source, rows, layer, normalize = false }: FeatureRowsOptions): LogisticRows {
  const found = source.layers.find(({ name }) => name === layer);
  if (!found) throw expected(`one of ${source.layers.map(({ name }) => name).join(", ")}`, "the layer", layer);
  const form = normalize ? "l2" : "raw";
  return {
    count: rows.length,
    width: found.width,
    visit: async (blockRows, see) => {
      let begin = 0;
      for await (const batch of source.pass({ rows, batchSize: blockRows, layers: [layer] })) {
        const block = tf.tidy(() => {
          const x = batch.features[layer]!.expandDims<tf.Tensor3D>(0);
          return withOnes(headInput({ form, x, channels: found.shape[0]! }).input).squeeze<tf.Tensor2D>([0]);
        });
        tf.dispose(batch.features);
        await see(block, begin).finally(() => block.dispose());
        begin += batch.rows.length;
      }
    },
  };
}
