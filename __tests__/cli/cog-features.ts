import { cpSync } from "node:fs";
import path from "node:path";

import { goldenPath } from "../golden.js";

/** Writes features of CoG's miniature below `features/<model>/<level>`, as CoG's program leaves them. */
export function writeCogFeatures(folder: string, model: string): void {
  for (const [level, train, test] of [
    ["cog_l1", "train", "test"],
    // Other levels are other images.
    ["cog_l2", "test", "train"],
  ] as const) {
    const copy = (from: string, to: string) =>
      cpSync(
        goldenPath(`cog/features_${from}/X_Y.pth`),
        path.join(folder, "features", model, level, `features_${to}`, "X_Y.pth"),
      );
    copy(train, "train");
    copy(test, "test");
  }
}
