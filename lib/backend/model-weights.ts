import fs from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { asReadError, inside } from "../files.js";

import type { Weight } from "./graph-def.js";

/** An entry of a GraphModel's `weightsManifest`: weights one behind the other, cut into files anywhere. */
export interface WeightGroup {
  paths: string[];
  weights: tf.io.WeightsManifestEntry[];
}

export interface NamedWeight extends Weight {
  name: string;
  dtype: "float32" | "int32" | "bool";
}

/**
 * The weights of a GraphModel one after another, dequantised as TensorFlow.js does it; texts and complex numbers are
 * left out. No more than one of them is in memory.
 *
 * @throws UserError where a file cannot be read or ends too early.
 */
export async function* readModelWeights(options: {
  modelJson: string;
  groups: readonly WeightGroup[];
}): AsyncGenerator<NamedWeight> {
  const folder = path.dirname(options.modelJson);
  for (const { paths, weights } of options.groups) {
    const content = openFiles(paths.map((name) => inside(folder, name)));
    try {
      for (const weight of weights) {
        const { name, shape, dtype, quantization } = weight;
        const length = shape.reduce((product, size) => product * size, 1);
        if (dtype === "string") {
          for (let i = 0; i < length; i++) await content.read((await content.read(4)).readUInt32LE());
          continue;
        }
        const bytes = await content.read(length * bytesOf[quantization?.dtype ?? dtype]);
        if (dtype === "complex64") continue;
        const tensor = tf.io.decodeWeights(bytes.buffer as ArrayBuffer, [weight])[name]!;
        try {
          yield { name, shape, dtype, data: await tensor.data() };
        } finally {
          tensor.dispose();
        }
      }
    } finally {
      await content.close();
    }
  }
}

const bytesOf = { float32: 4, int32: 4, complex64: 8, float16: 2, uint16: 2, uint8: 1, bool: 1 };

/** Several files read as one. */
function openFiles(files: string[]): { read(length: number): Promise<Buffer>; close(): Promise<void> } {
  let open: fs.FileHandle | undefined;
  let next = 0;
  const fill = async (into: Buffer): Promise<void> => {
    for (let at = 0; at < into.length;) {
      const file = files[open ? next - 1 : next];
      if (file === undefined) throw new Error("The weight files hold less than the model's JSON tells of them");
      try {
        open ??= await fs.open(files[next++]!);
        // A call reads 2 GiB at most.
        const { bytesRead } = await open.read(into, at, Math.min(into.length - at, 2 ** 30));
        at += bytesRead;
        if (bytesRead > 0) continue;
        await open.close();
        open = undefined;
      } catch (error) {
        throw asReadError(error, file, "a weight file");
      }
    }
  };
  return {
    read: async (length) => {
      // Of its own, for typed arrays begin where their numbers may begin.
      const bytes = Buffer.from(new ArrayBuffer(length));
      await fill(bytes);
      return bytes;
    },
    close: async () => open?.close(),
  };
}
