import { readFileSync } from "node:fs";
import path from "node:path";

import { documentation } from "../../cli/documentation.js";
import { commands } from "../../cli/frozen-eval.js";
import { zooDocumentation } from "../../lib/zoo/documentation.js";
import { root } from "../golden.js";

test("docs/cli.md is what the settings say", async () => {
  const wanted = await documentation();
  expect(readFileSync(path.join(root, "docs", "cli.md"), "utf8")).toBe(wanted);
  for (const name of Object.keys(commands)) expect(wanted).toContain(`\n## ${name}\n`);
});

test("docs/zoo.md is what models/zoo says", async () => {
  expect(readFileSync(path.join(root, "docs", "zoo.md"), "utf8")).toBe(await zooDocumentation());
});
