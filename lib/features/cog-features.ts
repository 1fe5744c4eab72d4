import type { TensorEntry } from "../checkpoints/tensor.js";
import { readCheckpoint } from "../checkpoints/checkpoint.js";
import { UserError } from "../errors.js";
import { identityOf, numbered } from "./array-source.js";
import { npyTargets } from "./npy-targets.js";
import { product } from "./npy.js";
import type { RowReader } from "./row-reader.js";
import { rowSource } from "./row-source.js";
import type { FeatureSource } from "./source.js";

/**
 * Features that ImageNet-CoG's extraction wrote: an `X_Y.pth` of torch.save with X, floating point [n, …], and Y, class
 * indices [n] or [n, classes] with 1 and 0. One layer, `features`; its rows are read when they are asked for.
 *
 * Source: ImageNet-CoG (protocols.md 2.1).
 *
 * @throws UserError where the file is missing, damaged, or does not hold these.
 */
export async function openCogFeatures(options: { file: string; residentBytes?: number }): Promise<FeatureSource> {
  const { file, residentBytes } = options;
  const { tensors } = await readCheckpoint({ file });
  const [X, Y] = [tensors.get("X"), tensors.get("Y")];
  if (!X || !Y) {
    const there = [...tensors.keys()].slice(0, 5).join(", ") || "none";
    throw new UserError(`Expected the tensors X and Y in ${file} but there is ${there}`);
  }
  const [rows = 0, ...shape] = X.shape;
  if (!X.dtype.includes("float") || shape.length === 0) {
    throw new UserError(
      `Expected floating-point features of shape [n, …] for X in ${file} but received ${X.dtype} [${X.shape.join(", ")}]`,
    );
  }
  if (Y.shape[0] !== rows) {
    throw new UserError(
      `Expected ${rows} labels, one a row of X, for Y in ${file} but received ${Y.shape[0] ?? "one"}`,
    );
  }
  const width = product(shape);
  return rowSource({
    layers: [{ layer: { name: "features", shape, width }, reader: tensorRows(X, width) }],
    targets: npyTargets({ shape: Y.shape, data: await Y.read() }, `Y in ${file}`),
    ids: numbered(rows),
    origin: { kind: "cog", ...(await identityOf(file)) },
    residentBytes,
  });
}

/** Neighbours in the tensor that are neighbours in the batch are read at once. */
function tensorRows(tensor: TensorEntry, width: number): RowReader {
  return {
    read: async (rows) => {
      const into = new Float32Array(rows.length * width);
      for (let i = 0; i < rows.length;) {
        let count = 1;
        while (i + count < rows.length && rows[i + count] === rows[i]! + count) count++;
        into.set((await tensor.readRows!(rows[i]!, count)) as Float32Array | Float64Array, i * width);
        i += count;
      }
      return into;
    },
  };
}
