import path from "node:path";

import { readWeights, weightBytes, type GraphFiles } from "../backbones/graph-files.js";
import { ancestors, graphOf, type GraphModelJson, type WeightSpec } from "../backbones/graph.js";
import type { NodeDef } from "../convert/graph-builder.js";
import { UserError } from "../errors.js";

/** The part of a graph that some of its nodes need. */
export interface BackbonePart {
  nodes: NodeDef[];
  /** As the backbone stores them: quantised ones stay so. */
  weights: WeightSpec[];
  /** The numbers of `weights`, in their order. */
  bytes(): AsyncIterable<Uint8Array>;
  /** What else the topology says. */
  topology: Omit<GraphModelJson["modelTopology"], "node">;
}

/**
 * Leaves out of a graph all that lies behind the wanted nodes.
 *
 * @throws UserError where a weight that is needed is a text.
 */
export function backbonePart({ files, nodes }: { files: GraphFiles; nodes: readonly string[] }): BackbonePart {
  const graph = graphOf(files.json);
  const needed = ancestors(graph, nodes);
  // A weight that no node bears belongs to a function of the graph's.
  const isNeeded = ({ name }: WeightSpec) => needed.has(name) || !graph.nodes.has(name);
  const { node: all, ...topology } = files.json.modelTopology;
  const weights = files.json.weightsManifest.flatMap((group) => group.weights.filter(isNeeded));
  const text = weights.find((spec) => Number.isNaN(weightBytes(spec)));
  if (text) {
    throw new UserError(`Expected weights that are numbers in ${files.modelFile} but ${text.name} is ${text.dtype}`, {
      hint: "Export the head alone with --head-only.",
    });
  }
  return { nodes: all.filter(({ name }) => needed.has(name)).map(nodeDef), weights, bytes, topology };

  async function* bytes(): AsyncIterable<Uint8Array> {
    for (const group of files.json.weightsManifest) {
      if (!group.weights.some(isNeeded)) continue;
      const parts = await Promise.all(
        group.paths.map((name) => readWeights(path.join(path.dirname(files.modelFile), name))),
      );
      const content = Buffer.concat(parts.map((part) => new Uint8Array(part)));
      let at = 0;
      for (const spec of group.weights) {
        const end = at + weightBytes(spec);
        if (isNeeded(spec)) yield content.subarray(at, end);
        at = end;
      }
    }
  }
}

/** Control inputs only order side effects, which inference has none of. */
function nodeDef({ name, op, input, attr }: GraphModelJson["modelTopology"]["node"][number]): NodeDef {
  const values = input.filter((text) => !text.startsWith("^"));
  return { name, op, ...(values.length > 0 && { input: values }), attr };
}
