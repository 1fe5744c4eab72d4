import { graphModelSchema, graphOf } from "../../backbones/graph.js";
import { proposeTaps } from "../../backbones/propose-taps.js";
import { didYouMean, UserError } from "../../errors.js";
import { graphModelJson } from "../graph-model.js";
import type { GraphBuilder } from "../graph-builder.js";
import type { Trace } from "./trace.js";
import { isTensor, physicalShape } from "./value.js";
import type { Tensor } from "./value.js";

/**
 * Makes the named values taps, in the order of the computation.
 *
 * @param options.names of nodes or of what they give; with `*` for any letters.
 * @param options.nodes names of ONNX's nodes, and of what each gives first.
 * @throws UserError where a name fits nothing, or what cannot be a feature: no numbers for each image by itself.
 */
export function tapNamed(options: {
  trace: Trace;
  names: readonly string[];
  nodes: ReadonlyMap<string, string>;
  file: string;
}): void {
  const { trace, names, nodes, file } = options;
  const found = names.flatMap((name) => matching(name, trace, nodes, file));
  for (const [name, output] of new Map(found)) {
    trace.enter(`tap/${name}`);
    const value = trace.values.get(output)!;
    if (!isTensor(value)) throw unfit(name, file, "a constant");
    const tensor = featuresOf(trace, value);
    if (typeof tensor === "string") throw unfit(name, file, tensor);
    tap(trace, tapName(name), tensor);
  }
}

/** Makes the ends of blocks taps, where the user names none: see `lib/backbones/propose-taps.ts`. */
export function tapProposed({ trace, file }: { trace: Trace; file: string }): void {
  const { graph, shapes } = trace;
  const last = graph.nodes.filter(({ name }) => shapes.has(name)).at(-1)!;
  const whole = graphModelJson(withTap(graph, { node: last.name, shape: [] }));
  const proposed = proposeTaps({ graph: graphOf(graphModelSchema.parse(whole)), input: graph.input.node, shapes });
  if (proposed.length === 0) {
    throw new UserError(`Expected places in ${file} where features can be taken but found none`, {
      hint: "Name nodes with --taps.",
    });
  }
  for (const { name, node, shape, pooling } of proposed) graph.tap(name, { node, shape }, pooling);
}

/** The graph as if that were its only tap: the writer of the model wants one. */
function withTap(graph: GraphBuilder, tensor: { node: string; shape: readonly number[] }): GraphBuilder {
  return Object.assign(Object.create(graph) as GraphBuilder, { taps: [{ name: "end", tensor, pooling: "identity" }] });
}

function matching(pattern: string, trace: Trace, nodes: ReadonlyMap<string, string>, file: string): [string, string][] {
  const outputs = [...nodes].filter(([, output]) => trace.values.has(output));
  const exact = trace.values.has(pattern) ? pattern : nodes.get(pattern);
  if (exact !== undefined && trace.values.has(exact)) return [[pattern, exact]];
  const glob = new RegExp(`^/?${pattern.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replace(/\*/g, ".*")}$`);
  const fitting = outputs.filter(([name, output]) => {
    const value = trace.values.get(output)!;
    return glob.test(name) && isTensor(value) && typeof featureShape(trace, value) !== "string";
  });
  if (fitting.length > 0) return fitting;
  throw new UserError(`Expected a node of ${file} for --taps but received ${JSON.stringify(pattern)}`, {
    hint: didYouMean(pattern, nodes.keys()),
  });
}

function unfit(name: string, file: string, received: string): UserError {
  return new UserError(
    `Expected a map, tokens or a vector for each image at the tap ${name} of ${file} but received ${received}`,
  );
}

/** Order and shape of a tensor as features, its batch in front; a text where it is no feature. */
function featureShape(trace: Trace, value: Tensor): { order: number[]; shape: number[] } | string {
  const axis = value.shape.findIndex((size) => size === trace.batch);
  if (axis < 0 || value.dtype !== "float32") return `the shape [${trace.perImage(value.shape).join(", ")}]`;
  const order = [axis, ...value.order.filter((one) => one !== axis)];
  const shape = order.map((one) => value.shape[one]!);
  const rest = shape.slice(1);
  if (rest.length > 3 || rest.length === 0) return `${rest.length} axes`;
  const isVector = rest.slice(0, -1).every((size) => size === 1);
  return { order, shape: isVector ? [shape[0]!, rest.at(-1)!] : shape };
}

function featuresOf(trace: Trace, value: Tensor): Tensor | string {
  const found = featureShape(trace, value);
  if (typeof found === "string") return found;
  const tensor = trace.reshapeNode(trace.arrange(value, found.order), found.shape);
  // What is fed cannot be fetched.
  return tensor.node === trace.graph.input.node
    ? trace.operation("Identity", [tensor], { shape: found.shape })
    : tensor;
}

function tap(trace: Trace, name: string, tensor: Tensor): void {
  trace.graph.tap(name, { node: tensor.node, shape: trace.perImage(physicalShape(tensor)).slice(1) });
}

/** In letters that need no quotes in a shell. */
function tapName(name: string): string {
  return name.replace(/^\/+/, "").replace(/[^A-Za-z0-9._-]/g, "_");
}
