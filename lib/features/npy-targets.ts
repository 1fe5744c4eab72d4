import type { Targets } from "../datasets/dataset.js";
import { UserError } from "../errors.js";
import { toIntegers } from "./npy.js";
import type { Integers } from "./npy.js";

/**
 * Labels as VISSL keeps them: class indices of shape [n] or [n, 1], or [n, classes] with 1 (present), 0 (absent) and
 * −1 (ignored).
 *
 * @param file names the array in messages.
 * @throws UserError where the shape or a value is another.
 */
export function npyTargets(array: Integers, file: string): Targets {
  const columns = array.shape[1] ?? 1;
  if (array.shape.length < 1 || array.shape.length > 2) {
    throw new UserError(
      `Expected labels of shape [n] or [n, classes] for ${file} but received [${array.shape.join(", ")}]`,
    );
  }
  const labels = toIntegers(array, file);
  const multi = columns > 1;
  const wrong = labels.findIndex((label) => (multi ? label < -1 || label > 1 : label < 0));
  if (wrong >= 0) {
    const wanted = multi ? "1 (present), 0 (absent) or -1 (ignored)" : "a class index from 0";
    const entry = Math.floor(wrong / columns) + 1;
    throw new UserError(`Expected ${wanted} in entry ${entry} of ${file} but received ${labels[wrong]!}`);
  }
  return multi ? { kind: "multi", labels: Int8Array.from(labels), classes: columns } : { kind: "single", labels };
}
