import type { OnnxInput, OnnxModel, OnnxNode } from "../../checkpoints/onnx/model.js";
import { UserError, messageOf } from "../../errors.js";
import { fold } from "./fold.js";
import { operators } from "./operators.js";
import { tapNamed, tapProposed } from "./taps.js";
import { Call, Trace } from "./trace.js";
import { constantOf, isTensor, known } from "./value.js";
import type { Constant, Value } from "./value.js";
import { longest, nhwc } from "./window.js";

export interface OnnxGraphOptions {
  model: OnnxModel;
  /** Nodes, or what they give, by name; `*` stands for any letters. The ends of blocks where undefined. */
  taps?: readonly string[];
  /** Of a network that takes images of any size; 224x224 where undefined. */
  inputSize?: readonly [height: number, width: number];
}

/**
 * Writes an ONNX network as a TensorFlow graph: sizes worked out, NHWC, constants folded, batch norms folded into the
 * convolutions before them. It takes any batch where the network lets it: a network that was exported for one image
 * too, unless its images depend on each other.
 *
 * @throws UserError where the network does not take RGB images, an operator cannot be written, or a tap is not there.
 */
export async function traceOnnx(options: OnnxGraphOptions): Promise<Trace> {
  const input = imageInput(options.model);
  const [batch] = input.shape as [number];
  if (batch < 0) return traced(options, input, undefined, true);
  try {
    return await traced(options, input, batch, true);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return traced(options, input, batch, false);
  }
}

function imageInput({ inputs, file }: OnnxModel): OnnxInput {
  const [input, ...more] = inputs;
  const takesImages = input?.shape.length === 4 && (input.shape[1] === 3 || input.shape[3] === 3);
  if (takesImages && input.type === 1 && more.length === 0) return input;
  const seen = inputs.map(
    ({ name, shape }) => `${name} [${shape.map((size) => (size < 0 ? "any" : size)).join(", ")}]`,
  );
  throw new UserError(
    `Expected one input of float32 images [batch, 3, height, width] for ${file} but received ${seen.join(" and ") || "none"}`,
  );
}

async function traced(
  options: OnnxGraphOptions,
  input: OnnxInput,
  fixedBatch: number | undefined,
  anyBatch: boolean,
): Promise<Trace> {
  const { model, taps, inputSize = [224, 224] } = options;
  const channelsFirst = input.shape[1] === 3;
  const [height, width] = (channelsFirst ? input.shape.slice(2) : input.shape.slice(1, 3)).map((size, i) =>
    sideOf(model.file, size, inputSize[i]!, options.inputSize !== undefined),
  ) as [number, number];
  const trace = new Trace({ model, height, width, fixedBatch, anyBatch });
  const images = { node: trace.graph.input.node, dtype: "float32" as const };
  const [batch, order] = [trace.batch, channelsFirst ? nhwc : [0, 1, 2, 3]];
  trace.values.set(input.name, { ...images, order, shape: channelsFirst ? [batch, 3, height, width] : [batch, height, width, 3] }); // prettier-ignore
  for (const [name, tensor] of model.initializers) trace.values.set(name, await constantOf(tensor));
  const nodes = new Map(model.nodes.flatMap(({ name, outputs }) => [[name, outputs[0]!], ...outputs.map((output) => [output, output])] as [string, string][])); // prettier-ignore
  await walk(trace, model, wantedNodes(model, nodes, taps), new Set(taps));
  if (taps && taps.length > 0) tapNamed({ trace, names: taps, nodes, file: model.file });
  else tapProposed({ trace, file: model.file });
  return trace;
}

function sideOf(file: string, own: number, wanted: number, asked: boolean): number {
  if (own > longest)
    throw new UserError(`Expected images of at most ${longest} pixels a side for ${file} but received ${own}`);
  if (own < 0) return wanted;
  if (!asked || own === wanted) return own;
  throw new UserError(
    `Expected images of ${own} pixels for ${file}, which was exported for them, but received ${wanted}`,
  );
}

/** The nodes that the taps need, or the outputs where the taps are not known yet: a detector's head may be left alone. */
function wantedNodes(model: OnnxModel, nodes: ReadonlyMap<string, string>, taps: readonly string[] = []): OnnxNode[] {
  const exact = taps.every((tap) => nodes.has(tap));
  const open = exact && taps.length > 0 ? taps.map((tap) => nodes.get(tap)!) : [...model.outputs];
  if (!exact) open.push(...nodes.values());
  const producer = new Map(model.nodes.flatMap((node) => node.outputs.map((output) => [output, node])));
  const wanted = new Set<OnnxNode>();
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const node = producer.get(name);
    if (!node || wanted.has(node)) continue;
    wanted.add(node);
    open.push(...node.inputs);
  }
  return model.nodes.filter((node) => wanted.has(node));
}

async function walk(trace: Trace, model: OnnxModel, nodes: OnnxNode[], taps: ReadonlySet<string>): Promise<void> {
  const norms = foldableNorms(trace, model, nodes, taps);
  for (const node of nodes) {
    if (node.outputs.every((output) => trace.values.has(output)) && node.op === "BatchNormalization") continue;
    const norm = norms.get(node);
    const call = new Call(trace, model, node, await constantsOf(node), norm && new Call(trace, model, norm));
    trace.enter(node.name);
    const results = await evaluated(call);
    node.outputs.forEach((output, i) => output !== "" && results[i] && trace.values.set(output, results[i]));
    if (norm) trace.values.set(norm.outputs[0]!, results[0]!);
  }
}

async function evaluated(call: Call): Promise<Value[]> {
  const { node, model } = call;
  const missing = node.inputs.find((name) => name !== "" && !call.trace.values.has(name));
  if (missing !== undefined) call.refuse("inputs that are computed before it", missing);
  if (node.op === "Constant") return [constantNode(call)];
  const own = node.domain === "";
  const folded = own ? guarded(call, () => fold(call)) : undefined;
  if (folded) return folded;
  const operator = own ? operators.get(node.op) : undefined;
  if (!operator) {
    throw new UserError(
      `Expected operators that can be converted in ${model.file} but received ${node.domain && `${node.domain}.`}${node.op} at the node ${node.name}`,
      { hint: "With --taps NODE,... only what leads to those nodes is converted." },
    );
  }
  const result = guarded(call, () => operator(call));
  return Array.isArray(result) ? result : [result];
}

/** Inputs that no exporter writes are told as such. */
function guarded<T>({ node, model }: Call, evaluate: () => T): T {
  try {
    return evaluate();
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`Expected inputs that fit the operator ${node.op} at the node ${node.name} of ${model.file} but ${messageOf(error)}`, { cause: error }); // prettier-ignore
  }
}

function constantNode(call: Call): Constant {
  const tensor = call.tensorAttribute("value");
  if (tensor) return tensor;
  const floats = call.attribute("value_floats")?.floats;
  if (floats) return known([floats.length], floats, "float32");
  const integers = call.integers("value_ints");
  if (integers) return known([integers.length], integers, "int32");
  const [float, integer] = [call.attribute("value_float")?.float, call.attribute("value_int")?.integer];
  if (float !== undefined) return known([], [float], "float32");
  return integer === undefined ? call.refuse("numbers", "another kind of constant") : known([], [integer], "int32");
}

async function constantsOf({ attributes }: OnnxNode): Promise<Map<string, Constant>> {
  const constants = new Map<string, Constant>();
  for (const [name, { tensor }] of attributes) if (tensor) constants.set(name, await constantOf(tensor));
  return constants;
}

/** Convolutions with a batch norm that alone reads them: the graph shows the norm's result only. */
function foldableNorms(trace: Trace, model: OnnxModel, nodes: OnnxNode[], taps: ReadonlySet<string>) {
  const readers = new Map<string, OnnxNode[]>();
  for (const node of nodes) for (const name of node.inputs) readers.set(name, [...(readers.get(name) ?? []), node]);
  const isConstant = (name: string) => {
    const value = trace.values.get(name);
    return value !== undefined && !isTensor(value);
  };
  const norms = new Map<OnnxNode, OnnxNode>();
  for (const node of nodes) {
    const [output, reader] = [node.outputs[0]!, readers.get(node.outputs[0]!)];
    const norm = reader?.length === 1 ? reader[0]! : undefined;
    const isSeen = taps.has(output) || taps.has(node.name) || model.outputs.includes(output);
    if (node.op !== "Conv" || node.domain !== "" || norm?.op !== "BatchNormalization" || isSeen) continue;
    const fits = norm.inputs.length === 5 && norm.inputs[0] === output && norm.inputs.slice(1).every(isConstant);
    if (fits && isConstant(node.inputs[1] ?? "")) norms.set(node, norm);
  }
  return norms;
}
