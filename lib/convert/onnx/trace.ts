import type { OnnxAttribute, OnnxModel, OnnxNode } from "../../checkpoints/onnx/model.js";
import { UserError } from "../../errors.js";
import { GraphBuilder } from "../graph-builder.js";
import type { GraphTensor, NodeDef } from "../graph-builder.js";
import type { Weight } from "../weight.js";
import { identity, isTensor, physicalShape, weightOf } from "./value.js";
import type { Constant, DType, Tensor, Value } from "./value.js";

/**
 * While the graph is walked, a batch has this size: a prime so large that no other size of a network is a multiple of
 * it. So a size that is, is so many times the batch, however the network computed it.
 */
const batchPrime = 1_000_003;

export interface TraceOptions {
  model: OnnxModel;
  /** Of the images. */
  height: number;
  width: number;
  /** The batch that the file was written for; undefined where any will do. */
  fixedBatch?: number;
  /** Whether a graph that was written for one batch is to take any. */
  anyBatch: boolean;
}

/** The TensorFlow graph as it grows, and what is known of the values of the ONNX graph so far. */
export class Trace {
  readonly graph: GraphBuilder;
  /** By their ONNX names. */
  readonly values = new Map<string, Value>();
  /** What each node of the graph gives for one image (or for the batch that was fixed), with the batch's axis. */
  readonly shapes = new Map<string, readonly number[]>();
  /** The batch's size while tracing. */
  readonly batch: number;
  readonly fixedBatch?: number;
  private readonly arranged = new Map<string, Tensor>();
  private readonly names = new Set<string>();
  private name = "";

  constructor({ height, width, fixedBatch, anyBatch }: TraceOptions) {
    this.graph = new GraphBuilder({ height, width });
    this.names.add(this.graph.input.node);
    this.batch = anyBatch ? batchPrime : fixedBatch!;
    this.fixedBatch = fixedBatch;
    this.shapes.set(this.graph.input.node, this.perImage([this.batch, height, width, 3]));
  }

  /** Nodes that are added from now on belong to this one of ONNX. */
  enter(name: string): void {
    this.name = name.replace(/^[/_]+/, "").replace(/[^A-Za-z0-9_./-]/g, "_") || "node"; // prettier-ignore
    if (!/^[A-Za-z0-9.]/.test(this.name)) this.name = `node_${this.name}`;
  }

  /**
   * Adds a node.
   *
   * @param result as the node gives it; `order` tells ONNX's axes of it, the same ones where it is left out.
   */
  operation(
    op: string,
    inputs: readonly (Tensor | Weight)[],
    result: { shape: readonly number[]; dtype?: DType; order?: readonly number[]; attr?: NodeDef["attr"] },
  ): Tensor {
    const { shape, dtype = "float32", order = identity(shape.length), attr } = result;
    const name = this.unused(op);
    this.graph.operation({
      name,
      op,
      inputs: inputs.map((input): GraphTensor | Weight => ("node" in input ? { node: input.node, shape: [] } : input)),
      shape: this.perImage(shape).slice(1),
      attr,
    });
    this.shapes.set(name, this.perImage(shape));
    const logical: number[] = [];
    order.forEach((axis, i) => (logical[axis] = shape[i]!));
    return { node: name, shape: logical, dtype, order };
  }

  /** The tensor with its axes in that order. */
  arrange(tensor: Tensor, order: readonly number[]): Tensor {
    if (tensor.order.join() === order.join()) return tensor;
    const key = `${tensor.node} [${tensor.shape.join()}] ${tensor.order.join()} ${order.join()}`;
    const done = this.arranged.get(key);
    if (done) return done;
    const shape = order.map((axis) => tensor.shape[axis]!);
    const long = (axes: readonly number[]) => axes.filter((axis) => tensor.shape[axis] !== 1).join();
    const moved =
      long(tensor.order) === long(order)
        ? this.reshapeNode(tensor, shape, order)
        : this.operation("Transpose", [tensor, int32(order.map((axis) => tensor.order.indexOf(axis)))], {
            shape,
            dtype: tensor.dtype,
            order,
            attr: { T: typeOf(tensor.dtype), Tperm: typeOf("int32") },
          });
    this.arranged.set(key, moved);
    return moved;
  }

  /** The tensor's elements, as they lie, in another shape. */
  reshapeNode(tensor: Tensor, shape: readonly number[], order: readonly number[] = identity(shape.length)): Tensor {
    const logical: number[] = [];
    order.forEach((axis, i) => (logical[axis] = shape[i]!));
    if (physicalShape(tensor).join() === shape.join()) return { ...tensor, shape: logical, order };
    return this.operation("Reshape", [tensor, int32(this.reshapeTarget(shape))], {
      shape,
      dtype: tensor.dtype,
      order,
      attr: { T: typeOf(tensor.dtype), Tshape: typeOf("int32") },
    });
  }

  /** A value as an input of a node, its axes in that order. */
  input(value: Value, order: readonly number[] = identity(value.shape.length)): Tensor | Weight {
    return isTensor(value) ? this.arrange(value, order) : this.weight(value, order);
  }

  weight(constant: Constant, order?: readonly number[]): Weight {
    // A size that was worked out from the batch is no constant.
    if (this.isAnyBatch && constant.values?.some((value) => this.isBatch(value) || this.isBatch(-value))) {
      throw new UserError(
        `Expected a network that treats each image alike but ${this.name} computes with the batch's size`,
      );
    }
    return weightOf(constant, order);
  }

  /** A value as a node of the graph: constants become one. */
  tensor(value: Value): Tensor {
    if (isTensor(value)) return value;
    const { shape, dtype } = value;
    const weight = this.weight(value);
    if (dtype !== "bool") return this.operation("Identity", [weight], { shape, dtype, attr: { T: typeOf(dtype) } });
    return this.operation("Cast", [weight], { shape, dtype, attr: cast("int32", "bool") });
  }

  /** Whether a size is so many times the batch. */
  isBatch(size: number): boolean {
    return this.isAnyBatch && size > 0 && size % batchPrime === 0;
  }

  get isAnyBatch(): boolean {
    return this.batch === batchPrime;
  }

  /** A shape for a batch of one. */
  perImage(shape: readonly number[]): number[] {
    return shape.map((size) => (this.isBatch(size) ? size / batchPrime : size));
  }

  /** Sizes as TensorFlow's Reshape takes them: −1 where the batch is in. */
  private reshapeTarget(shape: readonly number[]): number[] {
    if (shape.filter((size) => this.isBatch(size)).length > 1) {
      throw new UserError(
        `Expected a network that treats each image alone but ${this.name} compares images of a batch`,
      );
    }
    return shape.map((size) => (this.isBatch(size) ? -1 : size));
  }

  private unused(op: string): string {
    let name = this.name;
    for (let i = 1; this.names.has(name); i++) name = `${this.name}/${op}${i > 1 ? `_${i}` : ""}`;
    this.names.add(name);
    return name;
  }
}

/** A node of ONNX with the values of its inputs: what an operator works on. */
export class Call {
  constructor(
    readonly trace: Trace,
    readonly model: Pick<OnnxModel, "file" | "opset">,
    readonly node: OnnxNode,
    /** Constants among its attributes. */
    private readonly constants: ReadonlyMap<string, Constant> = new Map(),
    /** For a convolution: the batch norm behind it, which is folded in. */
    readonly foldedNorm?: Call,
  ) {}

  get opset(): number {
    return this.model.opset;
  }

  optional(position: number): Value | undefined {
    const name = this.node.inputs[position];
    return name ? this.trace.values.get(name) : undefined;
  }

  input(position: number): Value {
    return this.optional(position) ?? this.refuse(`an input at position ${position}`, "none");
  }

  get inputs(): Value[] {
    return this.node.inputs.map((_, position) => this.input(position));
  }

  /** As a node of the graph. */
  tensor(position: number): Tensor {
    return this.trace.tensor(this.input(position));
  }

  constant(position: number): Constant {
    const value = this.input(position);
    return isTensor(value) ? this.refuse(`a constant at position ${position}`, "a tensor") : value;
  }

  /** The numbers of a small constant; undefined where the input is left out. */
  numbers(position: number): readonly number[] | undefined {
    const value = this.optional(position);
    if (!value) return undefined;
    if (isTensor(value) || !value.values) return this.refuse(`known numbers at position ${position}`, "computed ones");
    return value.values;
  }

  tensorAttribute(name: string): Constant | undefined {
    return this.constants.get(name);
  }

  attribute(name: string): OnnxAttribute | undefined {
    return this.node.attributes.get(name);
  }

  integer(name: string, otherwise: number): number {
    return this.attribute(name)?.integer ?? otherwise;
  }

  float(name: string, otherwise: number): number {
    return this.attribute(name)?.float ?? otherwise;
  }

  text(name: string, otherwise: string): string {
    return this.attribute(name)?.text ?? otherwise;
  }

  integers(name: string): readonly number[] | undefined {
    return this.attribute(name)?.integers;
  }

  /** Axes that are an attribute in older opsets and an input in newer ones. */
  axes(position = 1): readonly number[] | undefined {
    return this.integers("axes") ?? this.numbers(position);
  }

  /** An axis counted from the front. */
  axis(axis: number, rank: number): number {
    const counted = axis < 0 ? axis + rank : axis;
    return counted >= 0 && counted < rank ? counted : this.refuse(`an axis of ${rank}`, String(axis));
  }

  /** @throws UserError always: the network does what cannot be written here. */
  refuse(wanted: string, received: string): never {
    const { op, name } = this.node;
    throw new UserError(
      `Expected ${wanted} for the operator ${op} at the node ${name} of ${this.model.file} but received ${received}`,
    );
  }
}

export function int32(values: readonly number[], shape: readonly number[] = [values.length]): Weight {
  return { shape, dtype: "int32", read: () => Promise.resolve(Int32Array.from(values)) };
}

export function float32(values: readonly number[], shape: readonly number[] = [values.length]): Weight {
  return { shape, dtype: "float32", read: () => Promise.resolve(Float32Array.from(values)) };
}

export function scalar(value: number): Weight {
  return float32([value], []);
}

export function typeOf(dtype: DType): { type: string } {
  return { type: { float32: "DT_FLOAT", int32: "DT_INT32", bool: "DT_BOOL" }[dtype] };
}

/** Attributes of a Cast. An attribute that TensorFlow's operation has not is undefined: it is not written. */
export function cast(from: DType, to: DType): NodeDef["attr"] {
  return { T: undefined, SrcT: typeOf(from), DstT: typeOf(to) };
}

export function ints(values: readonly number[]) {
  return { list: { i: values.map(String) } };
}

/** Protobuf's JSON writes bytes in base64. */
export function text(value: string) {
  return { s: Buffer.from(value).toString("base64") };
}
