import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import { runLocally } from "../../lib/launch/local.js";
import { temporaryFolder } from "../command-line.js";

const folder = temporaryFolder();
const gpusBefore = process.env.CUDA_VISIBLE_DEVICES;
afterEach(() => {
  if (gpusBefore === undefined) delete process.env.CUDA_VISIBLE_DEVICES;
  else process.env.CUDA_VISIBLE_DEVICES = gpusBefore;
});

test.each([
  ["4,6", ["4", "6", "4"]],
  ["6", ["6", "6", "6"]],
  ["4,-1,6", ["4,-1,6", "4,-1,6", "4,-1,6"]],
])("of the GPUs %s, processes side by side see %j", async (visible, seen) => {
  process.env.CUDA_VISIBLE_DEVICES = visible;
  const file = (name: string) => path.join(folder, `${visible} ${name}`);
  const jobs = [1, 2, 3].map((number) => {
    const script = file(`${number}.sh`);
    // Each waits for the others, so that each process has one.
    writeFileSync(script, `echo "$CUDA_VISIBLE_DEVICES"\n: > "$0.begun"\nwhile [ "$(ls "${folder}" | grep -c "^${visible} .*begun")" -lt 3 ]; do sleep 0.02; done\n`); // prettier-ignore
    return { number, script, log: file(`${number}.log`), label: "", argv: [], total: 1, done: async () => 1 };
  });
  expect(await runLocally({ jobs, processes: 3, look: async () => {}, every: 1000 })).toEqual(new Map());
  expect(jobs.map(({ log }) => readFileSync(log, "utf8").trim())).toEqual(seen);
});
