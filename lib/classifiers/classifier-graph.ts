import type { LayerRequest } from "../backbones/layers.js";
import { poolingNodes } from "../backbones/pooling-nodes.js";
import type { GraphBuilder, GraphTensor } from "../convert/graph-builder.js";
import { headNodes, type HeadFunction } from "./head-nodes.js";

/**
 * Adds poolings and head to a graph behind its taps. Names that the graph uses itself are left to it.
 *
 * @param options.layers that the head reads, joined in this order.
 * @returns the nodes that give logits and probabilities.
 */
export function continueGraph(options: { graph: GraphBuilder; layers: readonly LayerRequest[]; head: HeadFunction }): {
  logits: string;
  probabilities: string;
} {
  const { graph, layers, head } = options;
  const taken = graph.nodes.map(({ name }) => name);
  let name = "classifier";
  while (taken.some((other) => other === name || other.startsWith(`${name}/`))) name += "_";
  const free = (output: string) => (taken.includes(output) ? `${name}/${output}` : output);
  const outputs = { logits: free("logits"), probabilities: free("probabilities") };
  const features = layers.map((layer, i): GraphTensor => {
    const tensor = { node: layer.tap.node, shape: layer.tap.shape };
    return poolingNodes({ graph, name: `${name}/layer${i}`, tensor, layer });
  });
  headNodes({ graph, name: `${name}/head`, features, head, outputs });
  return outputs;
}
