import * as tf from "@tensorflow/tfjs";

import { readCheckpoint } from "../checkpoints/checkpoint.js";
import type { TensorEntry } from "../checkpoints/tensor.js";
import { UserError } from "../errors.js";
import type { GraphBuilder } from "./graph-builder.js";
import { relativeError } from "./tap-difference.js";

export interface VerifyOptions {
  /** Arrays that the original program gave: `input` and one a tap. */
  file: string;
  /** The largest difference that will do, relative to a tap's largest number. */
  tolerance: number;
}

/** What was compared: each tap's largest difference, relative to its largest number. */
export interface Verification {
  tolerance: number;
  taps: Record<string, number>;
}

/**
 * Compares a network's taps with the original's features, all in float32.
 *
 * The file is an `.npz` of NumPy's, or any other that a checkpoint may be, with the array `input` [N, C, H, W],
 * normalised, and one array a tap, under its name and as PyTorch has it: [N, C, H, W] of a map, [N, T, D] of tokens,
 * [N, D] of a vector.
 *
 * @param options.run gives the taps of a batch [N, H, W, C]; they are disposed here.
 * @throws UserError where an array is of another shape, none is a tap's, or one differs by more than the tolerance; the
 * error tells a line a tap.
 */
export async function compareWithOriginal(
  options: VerifyOptions & { graph: GraphBuilder; run: (images: tf.Tensor4D) => Promise<tf.Tensor[]> },
): Promise<Verification> {
  const { file, tolerance, graph, run } = options;
  const { tensors } = await readCheckpoint({ file });
  const [height, width, channels] = graph.input.shape as [number, number, number];
  const input = tensors.get("input");
  if (!input) throw new UserError(`Expected the array input in ${file} but it is not there`, { hint: arrays });
  expectShape("input", file, input, [undefined, channels, height, width]);
  const arrayOf = arraysByTap({ file, names: [...tensors.keys()], taps: graph.taps.map(({ name }) => name) });
  const pixels = await read(input);
  const results = await run(pixels as tf.Tensor4D);
  pixels.dispose();
  const errors: Record<string, number> = {};
  for (const [i, { name }] of graph.taps.entries()) {
    const array = arrayOf.get(name);
    if (array === undefined) continue;
    const entry = tensors.get(array)!;
    const [images, ...shape] = results[i]!.shape as [number, ...number[]];
    expectShape(array, file, entry, [images, ...(shape.length === 3 ? [shape[2], shape[0], shape[1]] : shape)]);
    const original = await read(entry);
    errors[name] = await relativeError(results[i]!, original);
    original.dispose();
  }
  tf.dispose(results);
  const failed = Object.entries(errors).filter(([, error]) => !(error <= tolerance));
  if (failed.length > 0) {
    throw new UserError(
      `Expected every tap to agree with ${file} to ${tolerance} but ${failed.map(([name]) => name).join(", ")} ` +
        `${failed.length === 1 ? "differs" : "differ"} by more`,
      { hint: ["Nothing was written.", ...formatVerification({ tolerance, taps: errors })].join("\n") },
    );
  }
  return { tolerance, taps: errors };
}

/**
 * The array of each tap that has one. Underscores do not count, and `fc` is the tap `logits`: other programs write
 * `stage_0` and name the classifier after PyTorch's module.
 */
function arraysByTap(options: { file: string; names: string[]; taps: string[] }): Map<string, string> {
  const { file, taps } = options;
  const names = options.names.filter((name) => name !== "input");
  const plain = (name: string) => (name === "fc" ? "logits" : name.replaceAll("_", ""));
  const found = new Map<string, string>();
  for (const tap of taps) {
    const array = names.includes(tap) ? tap : names.find((name) => plain(name) === plain(tap));
    if (array !== undefined) found.set(tap, array);
  }
  const used = new Set(found.values());
  const unknown = names.filter((name) => !used.has(name));
  if (unknown.length === 0 && names.length > 0) return found;
  const received = names.length === 0 ? "input alone" : unknown.join(", ");
  throw new UserError(`Expected arrays under the names of taps in ${file} but received ${received}`, {
    hint: `The taps are ${taps.join(", ")}. Name the arrays so; taps without an array are not compared.`,
  });
}

const arrays = "It holds the array input [N, C, H, W], normalised, and one array a tap, under the tap's name.";

/** A line a tap. */
export function formatVerification({ tolerance, taps }: Verification): string[] {
  const longest = Math.max(...Object.keys(taps).map((name) => name.length));
  return Object.entries(taps).map(([name, error]) => {
    const told = error <= tolerance ? "agrees" : `differs by more than ${tolerance}`;
    return `  ${name.padEnd(longest)}  ${error.toExponential(1)}  ${told}`;
  });
}

/** Of PyTorch's layout; maps become channels last. */
async function read(entry: TensorEntry): Promise<tf.Tensor> {
  const values = Float32Array.from<number | bigint>(await entry.read(), Number);
  const tensor = tf.tensor(values, entry.shape);
  if (entry.shape.length !== 4) return tensor;
  const moved = tensor.transpose([0, 2, 3, 1]);
  tensor.dispose();
  return moved;
}

/** @param expected undefined where any size will do. */
function expectShape(name: string, file: string, { shape }: TensorEntry, expected: (number | undefined)[]): void {
  const fits = shape.length === expected.length;
  if (fits && expected.every((size, axis) => size === undefined || size === shape[axis])) return;
  throw new UserError(
    `Expected the shape [${expected.map((size) => size ?? "any").join(", ")}] for ${name} in ${file} but received ` +
      `[${shape.join(", ")}]`,
    { hint: name === "input" ? "--image-size converts for images of another size." : arrays },
  );
}
