import { didYouMean, expected, show, UserError } from "../errors.js";

/**
 * How a tapped tensor becomes the features that a head sees. Written as
 *
 * - `identity`: as it is
 * - `avg`, `max`: over all positions of a map, over all tokens
 * - `avg_pool(8x8,3,0)`, `max_pool(3,2,1)`: kernel, stride (the kernel where not given), padding (0 where not given);
 *   PyTorch's AvgPool2d and MaxPool2d: floor mode, the padding's zeros count in a mean and never win a maximum
 * - `adaptive_avg(2x2)`, `adaptive_max(5x3)`: rows × columns of the result; PyTorch's bins, which may overlap
 * - `cls`: the first token; `patch_avg`: the mean over the tokens behind it; `patch_avg(5)`: behind five such tokens
 *
 * or as VISSL's entries: `["AvgPool2d", [[8, 8], 3, 0]]`. A vector is a map of one position.
 */
export interface Pooling {
  /** The one way to write it: sizes, strides and padding in full. */
  text: string;
  operation: PoolingOperation;
  /**
   * Shape of one image's features, channels first: [C, H', W'] of a map, [C] where positions were averaged away,
   * [C, T] of tokens taken as they are.
   *
   * @param tapShape [H, W, C], [T, C] or [C], as in the backbone's manifest.
   * @throws UserError where the tap cannot be pooled so: a kernel larger than the padded map, `cls` of a map.
   */
  outputShape(tapShape: readonly number[]): number[];
}

/** [rows, columns] */
type Pair = readonly [number, number];
export type Reduction = "avg" | "max";

export type PoolingOperation =
  | { kind: "identity" }
  | { kind: "cls" }
  | { kind: "patch_avg"; prefix: number }
  | { kind: "global"; reduction: Reduction }
  | { kind: "window"; reduction: Reduction; kernel: Pair; stride: Pair; padding: Pair }
  | { kind: "adaptive"; reduction: Reduction; size: Pair };

/** `[name, positional arguments]`, as in VISSL's `LINEAR_EVAL_FEAT_POOL_OPS_MAP`. */
export type VisslPooling = readonly [name: string, args?: readonly unknown[]];

/**
 * @param entry the text form or VISSL's.
 * @throws UserError where there is no such pooling or its arguments are wrong.
 */
export function parsePooling(entry: string | VisslPooling): Pooling {
  const operation = typeof entry === "string" ? fromText(entry) : fromVissl(entry);
  return { text: textOf(operation), operation, outputShape: (tapShape) => outputShape(operation, tapShape) };
}

function outputShape(operation: PoolingOperation, tapShape: readonly number[]): number[] {
  const channels = tapShape.at(-1)!;
  const kind = tapShape.length === 3 ? "map" : tapShape.length === 2 ? "tokens" : "vector";
  const pooling = textOf(operation);
  switch (operation.kind) {
    case "identity":
      return [channels, ...tapShape.slice(0, -1)];
    case "global":
      return [channels];
    case "cls":
    case "patch_avg": {
      const tokens = tapShape[0]!;
      if (kind !== "tokens")
        throw expected("a tap of tokens", `the pooling ${pooling}`, `a ${kind} of ${show(tapShape)}`);
      if (operation.kind === "patch_avg" && operation.prefix >= tokens)
        throw expected(`fewer than the tap's ${tokens} tokens`, `the pooling ${pooling}`, operation.prefix);
      return [channels];
    }
    case "window":
    case "adaptive": {
      if (kind === "tokens")
        throw expected("a tap that is a map", `the pooling ${pooling}`, `tokens of ${show(tapShape)}`, forTokens);
      if (operation.kind === "adaptive") return [channels, ...operation.size];
      const { kernel, stride, padding } = operation;
      const sides = kind === "map" ? tapShape.slice(0, 2) : [1, 1];
      return [channels, ...sides.map((side, i) => windows(pooling, side, kernel[i]!, stride[i]!, padding[i]!))];
    }
  }
}

const forTokens = "Tokens are pooled by avg, max, cls, patch_avg or identity.";

function windows(pooling: string, side: number, kernel: number, stride: number, padding: number): number {
  const padded = side + 2 * padding;
  if (kernel > padded)
    throw expected(`a kernel of at most ${padded} (the padded map)`, `the pooling ${pooling}`, kernel);
  return Math.floor((padded - kernel) / stride) + 1;
}

function textOf(operation: PoolingOperation): string {
  switch (operation.kind) {
    case "identity":
    case "cls":
      return operation.kind;
    case "patch_avg":
      return operation.prefix === 1 ? "patch_avg" : `patch_avg(${operation.prefix})`;
    case "global":
      return operation.reduction;
    case "adaptive":
      return `adaptive_${operation.reduction}(${operation.size.join("x")})`;
    case "window": {
      const { reduction, kernel, stride, padding } = operation;
      return `${reduction}_pool(${kernel.join("x")},${short(stride)},${short(padding)})`;
    }
  }
}

function short([rows, columns]: Pair): string {
  return rows === columns ? String(rows) : `${rows}x${columns}`;
}

const forms = ["identity", "avg", "max", "avg_pool", "max_pool", "adaptive_avg", "adaptive_max", "cls", "patch_avg"];

function fromText(text: string): PoolingOperation {
  const match = /^\s*([A-Za-z_0-9]+)\s*(?:\(([^()]*)\))?\s*$/.exec(text);
  if (!match) throw expected("a pooling such as avg or avg_pool(8x8,3,0)", "a layer", text);
  const [, name = "", inner] = match;
  const args = inner === undefined || inner.trim() === "" ? [] : inner.split(",").map((part) => sizes(part, text));
  return build(name, args, text);
}

/** `8x8` as [8, 8]; `3` as 3. */
function sizes(part: string, text: string): number | number[] {
  if (!/^\s*\d+\s*(x\s*\d+\s*)?$/.test(part)) throw expected("numbers such as 8x8 or 3", `the pooling ${text}`, part);
  const numbers = part.split("x").map(Number);
  return numbers.length === 1 ? numbers[0]! : numbers;
}

const visslForms: Record<string, string> = {
  AvgPool2d: "avg_pool",
  MaxPool2d: "max_pool",
  AdaptiveAvgPool2d: "adaptive_avg",
  AdaptiveMaxPool2d: "adaptive_max",
  Identity: "identity",
};

function fromVissl(entry: VisslPooling): PoolingOperation {
  const [name, args = []] = entry as readonly unknown[];
  if (typeof name !== "string" || !Array.isArray(args) || entry.length > 2)
    throw expected('a pooling such as ["AvgPool2d", [[8, 8], 3, 0]]', "a layer", entry);
  const form = Object.hasOwn(visslForms, name) ? visslForms[name] : undefined;
  if (form === undefined) throw noSuchPooling(name, Object.keys(visslForms));
  return build(form, args, name);
}

function build(name: string, args: readonly unknown[], text: string): PoolingOperation {
  const most = (count: number) => {
    if (args.length > count)
      throw expected(count === 0 ? "no argument" : `at most ${count} arguments`, `the pooling ${text}`, args);
  };
  const at = (index: number, least: number, what: string) => pair(args[index], least, what, text);
  switch (name) {
    case "identity":
    case "cls":
      most(0);
      return { kind: name };
    case "avg":
    case "max":
      most(0);
      return { kind: "global", reduction: name };
    case "patch_avg": {
      most(1);
      const [prefix] = args.length === 0 ? [1] : at(0, 0, "a number of tokens to leave out");
      return { kind: "patch_avg", prefix };
    }
    case "adaptive_avg":
    case "adaptive_max":
      most(1);
      return { kind: "adaptive", reduction: reductionOf(name), size: at(0, 1, "rows x columns") };
    case "avg_pool":
    case "max_pool": {
      most(3);
      const kernel = at(0, 1, "a kernel");
      const stride = args[1] === undefined || args[1] === null ? kernel : at(1, 1, "a stride of at least 1");
      const padding = args[2] === undefined ? ([0, 0] as const) : at(2, 0, "a padding");
      if (padding.some((width, i) => 2 * width > kernel[i]!))
        throw expected("a padding of at most half the kernel", `the pooling ${text}`, args[2]);
      return { kind: "window", reduction: reductionOf(name), kernel, stride, padding };
    }
    default:
      throw noSuchPooling(name, forms);
  }
}

function noSuchPooling(name: string, known: string[]): UserError {
  return new UserError(`Expected a pooling that exists but received ${show(name)}`, { hint: didYouMean(name, known) });
}

function reductionOf(name: string): Reduction {
  return name.includes("avg") ? "avg" : "max";
}

function pair(value: unknown, least: number, what: string, text: string): Pair {
  const both: unknown[] = Array.isArray(value) ? value : [value, value];
  const [rows, columns] = both;
  const isSize = (size: unknown): size is number => Number.isInteger(size) && (size as number) >= least;
  if (both.length !== 2 || !isSize(rows) || !isSize(columns)) throw expected(what, `the pooling ${text}`, value);
  return [rows, columns];
}
