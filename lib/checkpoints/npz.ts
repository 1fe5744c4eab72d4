import { UserError } from "../errors.js";
import { fileRange, fileSize } from "./bytes.js";
import { namedTensors } from "./format.js";
import type { CheckpointFormat } from "./format.js";
import { isNpy, npyTensor } from "./npy-array.js";
import type { TensorEntry } from "./tensor.js";
import { zipEntries } from "./zip.js";

/** NumPy's archive of arrays, as JAX programs save networks; a tensor's name is the array's, slashes and all. */
export const npz: CheckpointFormat = {
  name: "npz",
  // A zip archive whose first entry is an array.
  recognises: (head) => {
    const bytes = Buffer.from(head);
    if (bytes.length < 30 || bytes.readUInt32LE(0) !== 0x04034b50) return false;
    return bytes.toString("latin1", 30, 30 + bytes.readUInt16LE(26)).endsWith(".npy");
  },
  read: async (file) => {
    const tensors = new Map<string, TensorEntry>();
    for (const [name, bytes] of await zipEntries(file)) {
      if (!name.endsWith(".npy")) {
        throw new UserError(`Expected arrays of NumPy in ${file} but received ${name} among them`);
      }
      const tensor = await npyTensor(`${name} in ${file}`, bytes);
      if (tensor) tensors.set(name.slice(0, -".npy".length), tensor);
    }
    return namedTensors(tensors);
  },
};

/** A single array, under the name `array`. */
export const npy: CheckpointFormat = {
  name: "npy",
  recognises: isNpy,
  read: async (file) => {
    const tensor = await npyTensor(file, fileRange(file, 0, await fileSize(file)));
    return namedTensors(new Map(tensor && [["array", tensor]]));
  },
};
