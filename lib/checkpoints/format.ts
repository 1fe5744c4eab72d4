import type { TensorEntry } from "./tensor.js";

/** A kind of checkpoint file. A new one is a file beside this, and an entry in `checkpoint.ts`. */
export interface CheckpointFormat {
  name: "torch-zip" | "torch-legacy" | "safetensors" | "safetensors-index" | "npz" | "npy" | "pickle";
  /** Whether a file that begins with these bytes (at most 512) is one. */
  recognises(head: Uint8Array): boolean;
  /** @throws UserError where the file is not whole, or asks for more than data. */
  read(file: string): Promise<CheckpointContent>;
}

export interface CheckpointContent {
  /** The object in the file: `Map`, array, `Set`, `Instance`, plain values, and tensors in the format's own clothes. */
  root: unknown;
  /** The tensor that a value within `root` is; undefined where it is none. */
  entry: (value: unknown) => TensorEntry | undefined;
}

/** The content of formats that give each tensor its whole name. */
export function namedTensors(tensors: ReadonlyMap<string, TensorEntry>, values?: Map<string, unknown>) {
  const known = new Set<unknown>(tensors.values());
  return {
    root: new Map<string, unknown>([...tensors, ...(values ?? [])]),
    entry: (value: unknown) => (known.has(value) ? (value as TensorEntry) : undefined),
  } satisfies CheckpointContent;
}
