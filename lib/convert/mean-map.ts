import type { GraphBuilder, GraphTensor } from "./graph-builder.js";
import { mean } from "./reduction.js";

/** The mean over all positions, as a map of one: [height, width, channels] → [1, 1, channels]. */
export function meanMap(graph: GraphBuilder, name: string, input: GraphTensor): GraphTensor {
  return mean(graph, name, input, [0, 1], true);
}
