import * as tf from "@tensorflow/tfjs";

import type { Pooling, PoolingOperation, Reduction } from "./pooling.js";

type Windows = Extract<PoolingOperation, { kind: "window" }>;

/**
 * Pools on whatever backend is active.
 *
 * @param options.features [N, H, W, C], [N, T, C] or [N, C].
 * @returns [N, ...pooling.outputShape]: channels first, as PyTorch flattens.
 */
export function applyPooling({ pooling, features }: { pooling: Pooling; features: tf.Tensor }): tf.Tensor {
  const { operation } = pooling;
  pooling.outputShape(features.shape.slice(1));
  return tf.tidy(() => {
    switch (operation.kind) {
      case "identity":
        return channelsFirst(features);
      case "cls":
        return features.slice([0, 0], [-1, 1]).squeeze([1]);
      case "patch_avg":
        return features.slice([0, operation.prefix], [-1, -1]).mean(1);
      case "global": {
        const positions = features.shape.map((_, axis) => axis).slice(1, -1);
        return positions.length === 0 ? features.clone() : reduce(features, operation.reduction, positions);
      }
      case "window":
        return channelsFirst(poolWindows(asMap(features), operation));
      case "adaptive": {
        const [rows, columns] = operation.size;
        const map = asMap(features);
        return channelsFirst(poolBins(poolBins(map, 1, rows, operation.reduction), 2, columns, operation.reduction));
      }
    }
  });
}

function poolWindows(map: tf.Tensor4D, { reduction, kernel, stride, padding }: Windows): tf.Tensor4D {
  const [vertical, horizontal] = padding;
  const edge = reduction === "avg" ? 0 : -Infinity;
  const padded =
    vertical + horizontal === 0
      ? map
      : tf.pad4d(map, [[0, 0], [vertical, vertical], [horizontal, horizontal], [0, 0]], edge); // prettier-ignore
  const pool = reduction === "avg" ? tf.avgPool : tf.maxPool;
  return pool(padded, [...kernel], [...stride], "valid");
}

/** One axis into `count` bins, bin i from ⌊i·n/count⌋ to ⌈(i+1)·n/count⌉; a rectangle's mean is the mean of its rows'. */
function poolBins(map: tf.Tensor4D, axis: 1 | 2, count: number, reduction: Reduction): tf.Tensor4D {
  const length = map.shape[axis];
  const bins = Array.from({ length: count }, (_, i) => {
    const start = Math.floor((i * length) / count);
    const end = Math.ceil(((i + 1) * length) / count);
    const begin = [0, 0, 0, 0];
    const size = [-1, -1, -1, -1];
    begin[axis] = start;
    size[axis] = end - start;
    return reduce(map.slice(begin, size), reduction, [axis]);
  });
  return tf.stack(bins, axis) as tf.Tensor4D;
}

function reduce(features: tf.Tensor, reduction: Reduction, axes: number[]): tf.Tensor {
  return reduction === "avg" ? features.mean(axes) : features.max(axes);
}

function asMap(features: tf.Tensor): tf.Tensor4D {
  return features.rank === 2
    ? features.reshape([features.shape[0], 1, 1, features.shape[1]!])
    : (features as tf.Tensor4D);
}

function channelsFirst(features: tf.Tensor): tf.Tensor {
  if (features.rank === 4) return features.transpose([0, 3, 1, 2]);
  return features.rank === 3 ? features.transpose([0, 2, 1]) : features.clone();
}
