import { namedTensors } from "./format.js";
import type { CheckpointFormat } from "./format.js";
import { safetensorsHeader } from "./safetensors-header.js";
import type { SafetensorsArray } from "./safetensors-header.js";
import { denseLayout, stridedEntry } from "./tensor.js";
import type { TensorEntry } from "./tensor.js";

/** One safetensors file of numbers of any kind; its metadata stand under `__metadata__/`. */
export const safetensors: CheckpointFormat = {
  name: "safetensors",
  // No header is as long as 2⁵⁶ bytes.
  recognises: (head) => head[7] === 0 && head[8] === "{".charCodeAt(0),
  read: async (file) => {
    const { arrays, metadata } = await safetensorsHeader(file);
    const tensors = new Map([...arrays].map(([name, array]) => [name, tensorOf(array)]));
    return namedTensors(tensors, metadata.size > 0 ? new Map([["__metadata__", metadata]]) : undefined);
  },
};

export function tensorOf({ dtype, shape, bytes }: SafetensorsArray): TensorEntry {
  return stridedEntry(bytes, denseLayout({ dtype, shape }));
}
