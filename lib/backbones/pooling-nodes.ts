import type { LayerRequest } from "./layers.js";
import type { PoolingOperation, Reduction } from "./pooling.js";
import type { GraphBuilder, GraphTensor } from "../convert/graph-builder.js";
import { constant } from "../convert/weight.js";

/** Nodes are added to `graph`; those of one call are called `<name>/…`. */
interface Place {
  graph: GraphBuilder;
  name: string;
}

const indices = { type: "DT_INT32" };

/**
 * Adds the pooling of a layer and its flattening to a graph: what `applyPooling` does, as nodes.
 *
 * @param options.tensor what the tap's node gives.
 * @returns [width], channels first.
 */
export function poolingNodes(options: Place & { tensor: GraphTensor; layer: LayerRequest }): GraphTensor {
  const { graph, name, tensor, layer } = options;
  const { tap, pooling, width } = layer;
  // A vector may leave the graph as [1, 1, C].
  const features = reshape({ graph, name: `${name}/tap` }, tensor, tap.shape);
  const pooled = channelsFirst({ graph, name }, pool({ graph, name }, features, pooling.operation));
  return pooled.shape.length === 1 ? pooled : reshape({ graph, name: `${name}/flatten` }, pooled, [width]);
}

function pool({ graph, name }: Place, features: GraphTensor, operation: PoolingOperation): GraphTensor {
  switch (operation.kind) {
    case "identity":
      return features;
    case "cls":
      return reshape({ graph, name }, slice({ graph, name: `${name}/first` }, features, 0, 0, 1), [features.shape[1]!]);
    case "patch_avg": {
      const { prefix } = operation;
      const patches = slice({ graph, name: `${name}/patches` }, features, 0, prefix, features.shape[0]! - prefix);
      return reduce({ graph, name }, patches, "avg", [0]);
    }
    case "global": {
      const positions = features.shape.slice(0, -1).map((_, axis) => axis);
      return positions.length === 0 ? features : reduce({ graph, name }, features, operation.reduction, positions);
    }
    case "window": {
      const { reduction, kernel: size, stride, padding } = operation;
      const map = asMap({ graph, name }, features);
      return reduction === "avg"
        ? graph.averagePool(name, map, { size, stride, padding })
        : graph.maxPool(name, map, { size, stride, padding });
    }
    case "adaptive": {
      const { reduction, size } = operation;
      const map = asMap({ graph, name }, features);
      const rows = bins({ graph, name: `${name}/rows` }, map, 0, size[0], reduction);
      return bins({ graph, name: `${name}/columns` }, rows, 1, size[1], reduction);
    }
  }
}

/** One axis into `count` bins, bin i from ⌊i·n/count⌋ to ⌈(i+1)·n/count⌉, as PyTorch's adaptive pooling has them. */
function bins({ graph, name }: Place, map: GraphTensor, axis: number, count: number, reduction: Reduction) {
  const length = map.shape[axis]!;
  const parts = Array.from({ length: count }, (_, i) => {
    const start = Math.floor((i * length) / count);
    const end = Math.ceil(((i + 1) * length) / count);
    const part = slice({ graph, name: `${name}/part${i}` }, map, axis, start, end - start);
    return reduce({ graph, name: `${name}/bin${i}` }, part, reduction, [axis]);
  });
  const attr = { N: { i: String(count) }, axis: { i: String(axis + 1) } };
  const shape = map.shape.map((size, i) => (i === axis ? count : size));
  return graph.operation({ name, op: "Pack", inputs: parts, shape, attr });
}

/** @param axes of one image. */
function reduce({ graph, name }: Place, tensor: GraphTensor, reduction: Reduction, axes: number[]): GraphTensor {
  return graph.operation({
    name,
    op: reduction === "avg" ? "Mean" : "Max",
    inputs: [tensor, constant(axes.map((axis) => axis + 1), "int32")], // prettier-ignore
    shape: tensor.shape.filter((_, axis) => !axes.includes(axis)),
    attr: { Tidx: indices, keep_dims: { b: false } },
  });
}

/** @param axis of one image. */
function slice({ graph, name }: Place, tensor: GraphTensor, axis: number, start: number, length: number): GraphTensor {
  const begin = [0, ...tensor.shape.map((_, i) => (i === axis ? start : 0))];
  const size = [-1, ...tensor.shape.map((all, i) => (i === axis ? length : all))];
  return graph.operation({
    name,
    op: "Slice",
    inputs: [tensor, constant(begin, "int32"), constant(size, "int32")],
    shape: size.slice(1),
    attr: { Index: indices },
  });
}

function reshape({ graph, name }: Place, tensor: GraphTensor, shape: readonly number[]): GraphTensor {
  const inputs = [tensor, constant([-1, ...shape], "int32")];
  return graph.operation({ name, op: "Reshape", inputs, shape, attr: { Tshape: indices } });
}

/** A vector is a map of one position. */
function asMap({ graph, name }: Place, features: GraphTensor): GraphTensor {
  return features.shape.length === 3
    ? features
    : reshape({ graph, name: `${name}/map` }, features, [1, 1, features.shape[0]!]);
}

function channelsFirst({ graph, name }: Place, features: GraphTensor): GraphTensor {
  const positions = features.shape.length - 1;
  if (positions === 0) return features;
  const order = [0, positions + 1, ...Array.from({ length: positions }, (_, i) => i + 1)];
  const inputs = [features, constant(order, "int32")];
  const shape = [features.shape.at(-1)!, ...features.shape.slice(0, -1)];
  return graph.operation({
    name: `${name}/channels_first`,
    op: "Transpose",
    inputs,
    shape,
    attr: { Tperm: indices },
  });
}
