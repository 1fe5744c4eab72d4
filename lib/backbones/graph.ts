import { z } from "zod";

import { UserError } from "../errors.js";

/** A weight as `weightsManifest` describes it; the numbers lie in the weight files, one after another. */
const weightSchema = z.looseObject({
  name: z.string(),
  shape: z.array(z.number().int().nonnegative()),
  dtype: z.string(),
  quantization: z.looseObject({ dtype: z.string() }).optional(),
});

/** The JSON half of a TensorFlow.js GraphModel: a TensorFlow GraphDef and the places of its weights. */
export const graphModelSchema = z.looseObject({
  modelTopology: z.looseObject({
    node: z.array(
      z.looseObject({
        name: z.string(),
        op: z.string(),
        input: z.array(z.string()).default([]),
        attr: z.record(z.string(), z.unknown()).default({}),
      }),
    ),
  }),
  weightsManifest: z.array(z.looseObject({ paths: z.array(z.string()), weights: z.array(weightSchema) })),
});

/** The JSON half of a Keras LayersModel, whose layers TensorFlow.js checks itself. */
export const layersModelSchema = z.looseObject({
  modelTopology: z.union([
    z.looseObject({ model_config: z.looseObject({}) }),
    z.looseObject({ class_name: z.string(), config: z.unknown() }),
  ]),
  weightsManifest: graphModelSchema.shape.weightsManifest,
});

export type LayersModelJson = z.infer<typeof layersModelSchema>;
export type GraphModelJson = z.infer<typeof graphModelSchema>;
export type WeightSpec = z.infer<typeof weightSchema>;

export interface GraphNode {
  name: string;
  op: string;
  /** Names of the nodes that this one reads, in order, without output numbers and control dependencies. */
  inputs: string[];
  /** TensorFlow's attributes in protobuf's JSON; see {@link flag} and {@link numbers}. */
  attr: Record<string, unknown>;
}

export interface Graph {
  /** Every node after those that it reads, except in the loops of TensorFlow 1's control flow. */
  nodes: Map<string, GraphNode>;
  weights: Map<string, WeightSpec>;
}

export function graphOf(json: GraphModelJson): Graph {
  const nodes = new Map(
    json.modelTopology.node.map(({ name, op, input, attr }) => [
      name,
      { name, op, attr, inputs: input.filter((text) => !text.startsWith("^")).map((text) => text.split(":")[0]!) },
    ]),
  );
  const weights = new Map(json.weightsManifest.flatMap((group) => group.weights).map((spec) => [spec.name, spec]));
  return { nodes: inOrder(nodes), weights };
}

/** The placeholder that takes images, and what it says of their shape; −1 where any size will do. */
export interface ImageInput {
  node: string;
  batch: number;
  height: number;
  width: number;
  dtype: "float32" | "int32";
}

/**
 * @throws UserError where no placeholder, or more than one, takes [batch, height, width, 3].
 */
export function imageInputOf(graph: Graph): ImageInput {
  const placeholders = [...graph.nodes.values()].filter(({ op }) => op === "Placeholder");
  const inputs = placeholders.flatMap((node) => {
    const [batch, height, width, channels, ...more] = declaredShape(node);
    const fits = channels === 3 && more.length === 0;
    return fits ? [{ node: node.name, batch: batch!, height: height!, width: width!, dtype: dtypeOf(node) }] : [];
  });
  if (inputs.length === 1) return inputs[0]!;
  const seen = placeholders.map((node) => `${node.name} [${declaredShape(node).join(", ")}]`).join(", ");
  throw new UserError(`Expected one input of [batch, height, width, 3] in the graph but received ${seen || "none"}`, {
    hint: "Backbones here take RGB images, channels last.",
  });
}

/** The named nodes and all that they are computed from. */
export function ancestors(graph: Graph, names: Iterable<string>): Set<string> {
  const found = new Set<string>();
  const open = [...names];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const node = graph.nodes.get(name);
    if (!node || found.has(name)) continue;
    found.add(name);
    open.push(...node.inputs);
  }
  return found;
}

/** All that is computed from the named nodes, and they themselves; not through nodes that `bars` holds for. */
export function descendants(graph: Graph, names: Iterable<string>, bars?: (node: GraphNode) => boolean): Set<string> {
  const found = new Set(names);
  for (const node of graph.nodes.values())
    if (node.inputs.some((input) => found.has(input)) && !bars?.(node)) found.add(node.name);
  return found;
}

/** A boolean attribute; false where it is not set. */
export function flag(node: GraphNode, ...names: string[]): boolean {
  return names.some((name) => attribute.safeParse(node.attr[name]).data?.b === true);
}

const attribute = z.looseObject({ b: z.boolean().optional() });
const integer = z.union([z.number(), z.string()]).transform(Number);
const shapeAttribute = z.object({
  shape: z.object({ dim: z.array(z.object({ size: integer.default(-1) })).default([]) }),
});
const typeAttribute = z.object({ type: z.union([z.string(), z.number()]) });

/** The shape that a placeholder declares, −1 for any size; [] where it declares none. */
export function declaredShape(node: GraphNode): number[] {
  return shapeAttribute.safeParse(node.attr.shape).data?.shape.dim.map(({ size }) => size) ?? [];
}

/** What a placeholder takes; TensorFlow.js holds TensorFlow's whole numbers of every width as int32. */
export function dtypeOf(node: GraphNode): "float32" | "int32" {
  const type = typeAttribute.safeParse(node.attr.dtype).data?.type ?? "DT_FLOAT";
  return ["DT_INT32", "DT_UINT8", "DT_INT64", 3, 4, 9].includes(type) ? "int32" : "float32";
}

function inOrder(nodes: Map<string, GraphNode>): Map<string, GraphNode> {
  const ordered = new Map<string, GraphNode>();
  const entered = new Set<string>();
  for (const root of nodes.values()) {
    // Depth first, without recursion: graphs are thousands of nodes deep.
    const stack = [{ node: root, next: 0 }];
    if (!entered.has(root.name)) entered.add(root.name);
    else continue;
    while (stack.length > 0) {
      const top = stack.at(-1)!;
      const input = nodes.get(top.node.inputs[top.next++] ?? "");
      if (top.next > top.node.inputs.length) {
        ordered.set(top.node.name, top.node);
        stack.pop();
      } else if (input && !entered.has(input.name)) {
        entered.add(input.name);
        stack.push({ node: input, next: 0 });
      }
    }
  }
  return ordered;
}
