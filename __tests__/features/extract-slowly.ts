import { setTimeout as sleep } from "node:timers/promises";

import { extract } from "./synthetic.js";

/** An extraction in a process of its own, to be killed: `node extract-slowly.js ROOT` prints a line a batch. */
async function main(): Promise<void> {
  await extract(process.argv[2]!, {
    after: async (row) => {
      process.stdout.write(`${row}\n`);
      await sleep(2);
    },
  });
}

void main();
