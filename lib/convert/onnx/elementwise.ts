import type { Call, Trace } from "./trace.js";
import { cast, scalar, typeOf } from "./trace.js";
import { broadcastShape, expand, ofRank } from "./layout.js";
import { identity, isTensor, sizeOf } from "./value.js";
import type { Constant, DType, Tensor, Value } from "./value.js";
import type { Weight } from "../weight.js";
import type { Operators } from "./operators.js";

/** An operation of TensorFlow on each element of one tensor. */
export function each(trace: Trace, op: string, input: Tensor, attr?: Record<string, unknown>): Tensor {
  const shape = input.order.map((axis) => input.shape[axis]!);
  return trace.operation(op, [input], {
    shape,
    order: input.order,
    dtype: input.dtype,
    attr: { T: typeOf(input.dtype), ...attr },
  });
}

/** An operation with a number. */
export function withNumber(trace: Trace, op: string, input: Tensor, number: number): Tensor {
  const shape = input.order.map((axis) => input.shape[axis]!);
  return trace.operation(op, [input, scalar(number)], { shape, order: input.order });
}

/** An operation of TensorFlow on the elements of two values or more; the smaller ones are repeated. */
export function together(
  call: Call,
  op: string,
  values: readonly Value[],
  result: { dtype?: DType; attr?: Record<string, unknown> } = {},
): Tensor {
  const { trace } = call;
  const shape = broadcastShape(call, values.map((value) => value.shape)); // prettier-ignore
  const rank = shape.length;
  const lead = values.filter(isTensor).sort((a, b) => sizeOf(b.shape) - sizeOf(a.shape))[0];
  const raised = lead && ofRank(trace, lead, rank);
  const order = raised && isTensor(raised) ? raised.order : identity(rank);
  const dtype = lead?.dtype ?? values.at(-1)!.dtype;
  return trace.operation(
    op,
    values.map((value) => operand(trace, value, rank, order)),
    {
      shape: order.map((axis) => shape[axis]!),
      order,
      dtype: result.dtype ?? dtype,
      attr: { T: typeOf(dtype), ...result.attr },
    },
  );
}

function operand(trace: Trace, value: Value, rank: number, order: readonly number[]): Tensor | Weight {
  const raised = ofRank(trace, value, rank);
  if (isTensor(raised)) return trace.arrange(raised, order);
  if (raised.dtype === "bool") return trace.arrange(trace.tensor(raised), order);
  // A number for each channel, without axes of one in front, is what backends fuse.
  const weight = trace.weight(raised, order);
  const lead = weight.shape.findIndex((size) => size !== 1);
  return { ...weight, shape: lead < 0 ? [] : weight.shape.slice(lead) };
}

const plain = (op: string) => (call: Call) => each(call.trace, op, call.tensor(0));
const pair = (op: string) => (call: Call) => together(call, op, [call.input(0), call.input(1)]);
const comparison = (op: string) => (call: Call) => {
  const [left, right] = [call.input(0), call.input(1)];
  return together(call, op, [left, right], { dtype: "bool", attr: op === "Equal" ? { incompatible_shape_error: { b: true } } : {} }); // prettier-ignore
};
const logical = (op: string) => (call: Call) =>
  together(call, op, call.inputs, { dtype: "bool", attr: { T: undefined } });
const many = (op: string) => (call: Call) =>
  call.inputs.slice(1).reduce((left: Value, right) => together(call, op, [left, right]), call.input(0));

/** Operators that treat each element alone. */
export const elementwise: Operators = {
  Relu: plain("Relu"),
  Sigmoid: plain("Sigmoid"),
  Tanh: plain("Tanh"),
  Exp: plain("Exp"),
  Log: plain("Log"),
  Sqrt: plain("Sqrt"),
  Neg: plain("Neg"),
  Abs: plain("Abs"),
  Reciprocal: plain("Reciprocal"),
  Erf: plain("Erf"),
  Floor: plain("Floor"),
  Ceil: plain("Ceil"),
  Round: plain("Round"),
  Sign: plain("Sign"),
  Sin: plain("Sin"),
  Cos: plain("Cos"),
  Softplus: plain("Softplus"),
  Add: pair("AddV2"),
  Sub: pair("Sub"),
  Mul: pair("Mul"),
  Div: pair("RealDiv"),
  Min: many("Minimum"),
  Max: many("Maximum"),
  Sum: many("AddV2"),
  Equal: comparison("Equal"),
  Greater: comparison("Greater"),
  GreaterOrEqual: comparison("GreaterEqual"),
  Less: comparison("Less"),
  LessOrEqual: comparison("LessEqual"),
  And: logical("LogicalAnd"),
  Or: logical("LogicalOr"),
  Not: (call) => each(call.trace, "LogicalNot", call.tensor(0), { T: undefined }),
  Mean: (call) => withNumber(call.trace, "Mul", call.trace.tensor(many("AddV2")(call)), 1 / call.inputs.length),
  Pow: (call) => {
    const exponent = call.input(1);
    const number = !isTensor(exponent) && sizeOf(exponent.shape) === 1 ? exponent.values?.[0] : undefined;
    if (number === 2) return each(call.trace, "Square", call.tensor(0));
    if (number === 0.5) return each(call.trace, "Sqrt", call.tensor(0));
    return together(call, "Pow", [call.input(0), exponent]);
  },
  Where: (call) => {
    const [condition, yes, no] = [call.input(0), call.input(1), call.input(2)];
    // Not every backend repeats the smaller ones of three.
    const shape = broadcastShape(call, [condition.shape, yes.shape, no.shape]);
    const [chosen, a, b] = [condition, yes, no].map((value) => call.trace.tensor(expand(call, value, shape))) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const { order, dtype } = a;
    return call.trace.operation("SelectV2", [call.trace.arrange(chosen, order), a, call.trace.arrange(b, order)], {
      shape: order.map((axis) => shape[axis]!),
      order,
      dtype,
      attr: { T: typeOf(dtype) },
    });
  },
  Clip: (call) => {
    const bound = (name: string, position: number) => call.attribute(name)?.float ?? call.numbers(position)?.[0];
    return clip(call.trace, call.tensor(0), bound("min", 1), bound("max", 2));
  },
  HardSigmoid: (call) => hardSigmoid(call.trace, call.tensor(0), call.float("alpha", 0.2), call.float("beta", 0.5)),
  HardSwish: (call) => together(call, "Mul", [call.tensor(0), hardSigmoid(call.trace, call.tensor(0), 1 / 6, 0.5)]),
  LeakyRelu: (call) => each(call.trace, "LeakyRelu", call.tensor(0), { alpha: { f: call.float("alpha", 0.01) } }),
  // relu(x) − slope · relu(−x)
  PRelu: (call) => {
    const input = call.tensor(0);
    const negative = each(call.trace, "Relu", each(call.trace, "Neg", input));
    return together(call, "Sub", [each(call.trace, "Relu", input), together(call, "Mul", [negative, call.input(1)])]);
  },
  Elu: (call) => {
    const alpha = call.float("alpha", 1);
    if (alpha === 1) return each(call.trace, "Elu", call.tensor(0));
    return exponentialUnit(call, call.tensor(0), alpha, 1);
  },
  Selu: (call) => exponentialUnit(call, call.tensor(0), call.float("alpha", 1.6732632), call.float("gamma", 1.050701)),
  Softsign: (call) => together(call, "RealDiv", [call.tensor(0), withNumber(call.trace, "AddV2", each(call.trace, "Abs", call.tensor(0)), 1)]), // prettier-ignore
  Mish: (call) => {
    const input = call.tensor(0);
    return together(call, "Mul", [input, each(call.trace, "Tanh", each(call.trace, "Softplus", input))]);
  },
  Swish: (call) => {
    const [input, alpha] = [call.tensor(0), call.float("alpha", 1)];
    const scaled = alpha === 1 ? input : withNumber(call.trace, "Mul", input, alpha);
    return together(call, "Mul", [input, each(call.trace, "Sigmoid", scaled)]);
  },
  Gelu: (call) => {
    const [input, { trace }] = [call.tensor(0), call];
    const inside =
      call.text("approximate", "none") === "tanh"
        ? each(trace, "Tanh", withNumber(trace, "Mul", together(call, "AddV2", [input, withNumber(trace, "Mul", together(call, "Mul", [each(trace, "Square", input), input]), 0.044715)]), Math.sqrt(2 / Math.PI))) // prettier-ignore
        : each(trace, "Erf", withNumber(trace, "Mul", input, Math.SQRT1_2));
    return together(call, "Mul", [withNumber(trace, "Mul", input, 0.5), withNumber(trace, "AddV2", inside, 1)]);
  },
  Cast: (call) => {
    const input = call.input(0);
    const dtype =
      castTypes[call.integer("to", 1)] ?? call.refuse("a type of numbers", `the type ${call.integer("to", 1)}`);
    if (isTensor(input)) {
      if (input.dtype === dtype) return input;
      return { ...each(call.trace, "Cast", input, cast(input.dtype, dtype)), dtype };
    }
    return castConstant(input, dtype);
  },
  CastLike: (call) => {
    const [input, { dtype }] = [call.input(0), call.input(1)];
    if (!isTensor(input)) return castConstant(input, dtype);
    return input.dtype === dtype ? input : { ...each(call.trace, "Cast", input, cast(input.dtype, dtype)), dtype };
  },
};

/** By TensorProto.DataType: numbers of every precision are float32 in the graph. */
const castTypes: Record<number, DType> = {
  1: "float32",
  10: "float32",
  11: "float32",
  16: "float32",
  2: "int32",
  3: "int32",
  5: "int32",
  6: "int32",
  7: "int32",
  9: "bool",
};

function castConstant(input: Constant, dtype: DType): Constant {
  const convert = (value: number) =>
    dtype === "bool" ? Number(value !== 0) : dtype === "int32" ? Math.trunc(value) : value;
  const values = input.values?.map(convert);
  const read = async () => {
    const data = await input.read();
    return dtype === "float32" ? Float32Array.from(data) : Int32Array.from(data, convert);
  };
  return { shape: input.shape, dtype, values, read };
}

function clip(trace: Trace, input: Tensor, low = -Infinity, high = Infinity): Tensor {
  if (low === 0 && high === 6) return each(trace, "Relu6", input);
  if (low === 0 && high === Infinity) return each(trace, "Relu", input);
  const raised = low === -Infinity ? input : withNumber(trace, "Maximum", input, low);
  return high === Infinity ? raised : withNumber(trace, "Minimum", raised, high);
}

function hardSigmoid(trace: Trace, input: Tensor, alpha: number, beta: number): Tensor {
  return clip(trace, withNumber(trace, "AddV2", withNumber(trace, "Mul", input, alpha), beta), 0, 1);
}

/** gamma · (relu(x) + alpha · (exp(min(x, 0)) − 1)) */
function exponentialUnit(call: Call, input: Tensor, alpha: number, gamma: number): Tensor {
  const { trace } = call;
  const below = each(trace, "Exp", withNumber(trace, "Minimum", input, 0));
  const scaled = withNumber(trace, "Mul", withNumber(trace, "Sub", below, 1), alpha);
  const sum = together(call, "AddV2", [each(trace, "Relu", input), scaled]);
  return gamma === 1 ? sum : withNumber(trace, "Mul", sum, gamma);
}
