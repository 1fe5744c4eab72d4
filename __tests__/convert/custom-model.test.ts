import { readFileSync } from "node:fs";
import path from "node:path";

import { root } from "../golden.js";

test("the architecture in docs/custom-model.md is the one that is compiled and converted here", () => {
  const page = readFileSync(path.join(root, "docs", "custom-model.md"), "utf8");
  const shown = /```ts\n([^]*?)```/.exec(page)![1]!;
  const tested = readFileSync(path.join(root, "__tests__", "models", "squeezenet.ts"), "utf8");
  expect(shown).toBe(tested.replaceAll('"../../lib/', '"../lib/'));
  expect(shown.split("\n").length).toBeLessThan(90);
});
