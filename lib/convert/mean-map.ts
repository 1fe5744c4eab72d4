import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { constant } from "./weight.js";

/** The mean over all positions, as a map of one: [height, width, channels] → [1, 1, channels]. */
export function meanMap(graph: GraphBuilder, name: string, input: GraphTensor): GraphTensor {
  return graph.operation({
    name,
    op: "Mean",
    inputs: [input, constant([1, 2], "int32")],
    shape: [1, 1, input.shape[2]!],
    attr: { Tidx: { type: "DT_INT32" }, keep_dims: { b: true } },
  });
}
