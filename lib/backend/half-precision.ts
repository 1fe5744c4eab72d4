import { toBfloat16 } from "../bfloat16.js";
import { toFloat16 } from "../float16.js";

import type { JsonAttribute, JsonNode } from "./graph-def.js";

/** Sixteen bits a number. */
export type HalfPrecision = "bfloat16" | "float16";

/** In which convolutions and matrix products are computed. */
export type ComputePrecision = "float32" | HalfPrecision;

export function toHalf(values: Float32Array, precision: HalfPrecision): Uint16Array {
  return precision === "bfloat16" ? toBfloat16(values) : toFloat16(values);
}

/** Convolutions and matrix products, where the time goes: always in half precision. */
const products = new Set(["Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMul", "BatchMatMulV2"]);

/**
 * What stays in half precision behind a product: elementwise functions, and what only moves numbers. All else (means,
 * softmax, norms) is in single precision, as it is with PyTorch's autocast.
 */
const following = new Set(
  ["BiasAdd", "Add", "AddV2", "Sub", "Mul", "Relu", "Relu6", "Elu", "LeakyRelu", "Sigmoid", "Tanh", "Erf"].concat([
    "MaxPool",
    "Reshape",
    "Transpose",
    "Slice",
    "StridedSlice",
    "Squeeze",
    "ExpandDims",
    "Pad",
    "PadV2",
    "Identity",
  ]),
);

/** Which inputs are numbers of the operation's type `T`; the others are shapes, axes and the like. */
function numbersOf({ op, input = [] }: JsonNode): string[] {
  if (op === "PadV2") return [input[0]!, input[2]!];
  const two = products.has(op) || /^(BiasAdd|Add|AddV2|Sub|Mul)$/.test(op);
  return input.slice(0, two ? 2 : 1);
}

/** What is computed in half precision. */
export interface HalfPlan {
  precision: HalfPrecision;
  /** Nodes that give half precision. */
  nodes: ReadonlySet<string>;
  /** Constants that only such nodes read, as numbers. */
  constants: ReadonlySet<string>;
}

/** @param nodes plain ones, each behind those that it reads. */
export function planHalf(nodes: readonly JsonNode[], precision: HalfPrecision): HalfPlan {
  const constants = new Set(nodes.filter(({ op }) => op === "Const").map(({ name }) => name));
  const half = new Set<string>();
  for (const node of nodes) {
    if (node.attr?.T?.type !== undefined && ![1, "DT_FLOAT"].includes(node.attr.T.type)) continue;
    const variable = numbersOf(node).filter((input) => !constants.has(input));
    const follows = following.has(node.op) && variable.length > 0 && variable.every((input) => half.has(nodeOf(input)));
    if (products.has(node.op) || follows) half.add(node.name);
  }
  const readElsewhere = nodes.flatMap((node) => {
    const numbers = half.has(node.name) ? numbersOf(node) : [];
    return (node.input ?? []).filter((_, i) => !numbers.includes(node.input![i]!));
  });
  const single = new Set(readElsewhere);
  return { precision, nodes: half, constants: new Set([...constants].filter((name) => !single.has(name))) };
}

/**
 * The graph with casts wherever the precision changes.
 *
 * @param options.isHalf whether a constant is kept in half precision.
 * @returns the nodes, and the outputs in single precision under the names that they have then.
 */
export function castToHalf(options: {
  nodes: readonly JsonNode[];
  outputs: readonly string[];
  plan: HalfPlan;
  isHalf: (constant: string) => boolean;
}): { nodes: JsonNode[]; outputs: string[] } {
  const { plan, isHalf } = options;
  const type = plan.precision === "bfloat16" ? "DT_BFLOAT16" : "DT_HALF";
  const nodes: JsonNode[] = [];
  const casts = new Set<string>();
  const cast = (tensor: string, to: "half" | "single"): string => {
    const from = plan.nodes.has(nodeOf(tensor)) || isHalf(tensor) ? "half" : "single";
    if (from === to) return tensor;
    const name = `${tensor.replace(":", "_")}/as_${to}`;
    const [source, target] = from === "half" ? [type, "DT_FLOAT"] : ["DT_FLOAT", type];
    const attr: Record<string, JsonAttribute> = { SrcT: { type: source }, DstT: { type: target } };
    if (!casts.has(name)) nodes.push({ name, op: "Cast", input: [tensor], attr });
    casts.add(name);
    return name;
  };
  for (const node of options.nodes) {
    const isOwn = plan.nodes.has(node.name);
    const numbers = new Set(isOwn ? numbersOf(node) : []);
    const input = node.input?.map((tensor) => {
      if (numbers.has(tensor)) return cast(tensor, "half");
      return plan.nodes.has(nodeOf(tensor)) ? cast(tensor, "single") : tensor;
    });
    nodes.push({ ...node, ...(input && { input }), ...(isOwn && { attr: { ...node.attr, T: { type } } }) });
  }
  return { nodes, outputs: options.outputs.map((tensor) => cast(tensor, "single")) };
}

function nodeOf(tensor: string): string {
  return tensor.replace(/:0$/, "");
}
