import path from "node:path";

import { withLock } from "../lock.js";
import { UserError } from "../errors.js";

/** Takes the lock of a store until the function that is returned is called. */
export async function holdLock(folder: string): Promise<() => Promise<void>> {
  return new Promise((resolve, reject) => {
    const busy = (holder: string) => {
      throw new UserError(`Expected to write the feature store ${folder} alone but ${holder} writes to it now`, {
        hint: `Wait until it is done. Where no such run exists, delete ${path.join(folder, "lock")}.`,
      });
    };
    const held = withLock({ file: path.join(folder, "lock"), waiting: busy }, () => {
      return new Promise<void>((free) => {
        resolve(() => {
          free();
          return held;
        });
      });
    });
    held.catch(reject);
  });
}
