import { together, withNumber } from "./elementwise.js";
import { broadcastShape, ofRank, reshape, transpose } from "./layout.js";
import type { Operators } from "./operators.js";
import type { Call } from "./trace.js";
import { typeOf } from "./trace.js";
import { identity, isTensor, sizeOf } from "./value.js";
import type { Tensor, Value } from "./value.js";

/** Products of matrices. */
export const matrices: Operators = {
  MatMul: (call) => {
    let [left, right] = [call.input(0), call.input(1)];
    const [isRow, isColumn] = [left.shape.length === 1, right.shape.length === 1];
    if (isRow) left = reshape(call.trace, left, [1, ...left.shape]);
    if (isColumn) right = reshape(call.trace, right, [...right.shape, 1]);
    const product = matMul(call, left, right);
    const dropped = (shape: readonly number[]) => {
      const kept = isColumn ? shape.slice(0, -1) : shape;
      return isRow ? [...kept.slice(0, isColumn ? -1 : -2), ...(isColumn ? [] : kept.slice(-1))] : kept;
    };
    return reshape(call.trace, product, dropped(product.shape));
  },
  Gemm: (call) => {
    const turned = (value: Value, name: string) => (call.integer(name, 0) === 1 ? transpose(value, [1, 0]) : value);
    const product = matMul(call, turned(call.input(0), "transA"), turned(call.input(1), "transB"));
    const alpha = call.float("alpha", 1);
    const scaled = alpha === 1 ? product : withNumber(call.trace, "Mul", product, alpha);
    const summand = call.optional(2);
    if (!summand) return scaled;
    const beta = call.float("beta", 1);
    if (beta === 1) return together(call, "AddV2", [scaled, summand]);
    return together(call, "AddV2", [scaled, withNumber(call.trace, "Mul", call.trace.tensor(summand), beta)]);
  },
  Einsum: (call) => {
    const [left, right, result, ...more] = call.text("equation", "").replace(/\s/g, "").split(/,|->/) as [string, string, string]; // prettier-ignore
    const letters = [left, right, result];
    if (
      more.length > 0 ||
      !letters.every((word) => /^[A-Za-z]*$/.test(word ?? "!") && new Set(word).size === word.length)
    ) {
      call.refuse("two operands whose axes differ, as in bhd,hde->bhe", call.text("equation", ""));
    }
    return einsum(call, left, right, result);
  },
};

/** A product of matrices in the last two axes; TensorFlow repeats the others as ONNX does. */
export function matMul(call: Call, left: Value, right: Value): Tensor {
  const { trace } = call;
  const [a, b] = [left.shape, right.shape];
  const [rows, inner, columns] = [a.at(-2)!, a.at(-1)!, b.at(-1)!];
  if (b.at(-2) !== inner) call.refuse(`a matrix of ${inner} rows`, String(b.at(-2)));
  if (b.length === 2 && isTensor(left)) return rearrangedMatMul(call, left, right);
  const outer = broadcastShape(call, [a.slice(0, -2), b.slice(0, -2)]);
  const rank = outer.length + 2;
  const inputs = [left, right].map((value) => trace.input(ofRank(trace, value, rank)));
  return trace.operation("BatchMatMulV2", inputs, {
    shape: [...outer, rows, columns],
    attr: { T: typeOf("float32"), adj_x: { b: false }, adj_y: { b: false } },
  });
}

/** [..., inner] · [inner, columns]: all rows in one product, for that is fast everywhere. */
export function rearrangedMatMul(call: Call, left: Tensor, matrix: Value): Tensor {
  const { trace } = call;
  const last = left.shape.length - 1;
  const [inner, columns] = matrix.shape as [number, number];
  // The other axes may lie in any order.
  const order = left.order.at(-1) === last ? left.order : identity(last + 1);
  const lying = trace.arrange(left, order);
  const sizes = order.slice(0, -1).map((axis) => left.shape[axis]!);
  const rows = trace.reshapeNode(lying, [sizeOf(sizes), inner]);
  const product = trace.operation("MatMul", [rows, trace.input(matrix)], {
    shape: [sizeOf(sizes), columns],
    attr: { T: typeOf("float32"), transpose_a: { b: false }, transpose_b: { b: false } },
  });
  return trace.reshapeNode(product, [...sizes, columns], order);
}

/** As a product of matrices: [both …, left's own, summed] · [both …, summed, right's own]. */
function einsum(call: Call, left: string, right: string, result: string): Value {
  const [a, b] = [call.input(0), call.input(1)];
  const size = (letter: string) =>
    left.includes(letter) ? a.shape[left.indexOf(letter)]! : b.shape[right.indexOf(letter)]!;
  const sizes = (letters: string[]) => letters.map(size);
  const both = [...left].filter((letter) => right.includes(letter) && result.includes(letter));
  const summed = [...left].filter((letter) => right.includes(letter) && !result.includes(letter));
  const own = (word: string) => [...word].filter((letter) => !both.includes(letter) && !summed.includes(letter));
  const [ofLeft, ofRight] = [own(left), own(right)];
  const all = [...both, ...ofLeft, ...ofRight];
  if ([...result].sort().join() !== [...all].sort().join())
    call.refuse("axes that are summed in both operands", call.text("equation", ""));
  const matrix = (value: Value, word: string, letters: string[], shape: number[]) =>
    reshape(call.trace, transpose(value, letters.map((letter) => word.indexOf(letter))), [...sizes(both), ...shape]); // prettier-ignore
  const product = matMul(
    call,
    matrix(a, left, [...both, ...ofLeft, ...summed], [sizeOf(sizes(ofLeft)), sizeOf(sizes(summed))]),
    matrix(b, right, [...both, ...summed, ...ofRight], [sizeOf(sizes(summed)), sizeOf(sizes(ofRight))]),
  );
  return transpose(reshape(call.trace, product, sizes(all)), [...result].map((letter) => all.indexOf(letter))); // prettier-ignore
}
