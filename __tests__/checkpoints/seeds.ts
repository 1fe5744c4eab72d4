import fs from "node:fs";

import { encodeNpy } from "../../lib/features/npy.js";
import { goldenPath } from "../golden.js";
import { zipArchive } from "./zip-archive.js";

/** Small whole checkpoints of each format, to be mutated. */
export const seeds: Record<string, () => Buffer[]> = {
  "torch-zip": () => files("files/zip_protocol4.pth", "files/half_model.pth", "odd/nested_lists.pth"),
  "torch-legacy": () => files("files/legacy_mixed.pth"),
  safetensors: () => files("files/mixed.safetensors"),
  pickle: () => files("files/numpy_blobs.pkl"),
  npz: () => [arrays(false), arrays(true)],
  npy: () => [Buffer.from(encodeNpy({ dtype: "float32", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) }))],
};

function files(...names: string[]): Buffer[] {
  return names.map((name) => fs.readFileSync(goldenPath(`checkpoints/${name}`)));
}

function arrays(deflated: boolean): Buffer {
  return zipArchive([
    {
      name: "Transformer/encoderblock_0/LayerNorm_0/scale.npy",
      content: encodeNpy({ dtype: "float32", shape: [2, 3], data: Float32Array.of(1, -2, 3.5, 0, 5, 6) }),
      deflated,
    },
    {
      name: "opt/step.npy",
      content: encodeNpy({ dtype: "int64", shape: [], data: BigInt64Array.of(90000n) }),
      deflated,
    },
  ]);
}
