import fs from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { random } from "../../lib/random.js";
import { begun, isUndisturbed } from "./work.js";
import type { Outcome, Work } from "./work.js";

/**
 * `kill -9` at random moments of an extraction, from the start of the process or from its first write on, again and
 * again into the same store until a run has come to its end; then it must be that of an undisturbed run.
 */
export async function kills(work: Work, count = 200): Promise<Outcome> {
  const chance = random(Number(process.env.SEED ?? 0), "kills");
  const failed: string[] = [];
  let killed = 0;
  let stores = 0;
  for (; killed < count; stores++) {
    const root = `killed-${stores}`;
    const argv = [...work.argv, "--features-root", root];
    // The last kill of a store is followed by one clean run; some stores are whole before.
    for (let kills = 0; kills < 12 && killed < count; kills++) {
      const { child, ended } = work.start(argv);
      if (kills % 4 > 0) await begun(work, root, ended);
      await sleep(1000 * work.seconds * chance.uniform());
      child.kill("SIGKILL");
      const { signal, status, stderr } = await ended;
      if (signal === "SIGKILL") killed++;
      else if (status !== 0) failed.push(`store ${stores}: ${stderr.slice(-300)}`);
      else break;
    }
    const { status, stderr } = await work.run(argv);
    if (status !== 0) failed.push(`store ${stores}: ${stderr.slice(-300)}`);
    else if (!(await isUndisturbed(work, root))) failed.push(`store ${stores} differs from the undisturbed one`);
    else await fs.rm(path.join(work.folder, root), { recursive: true });
  }
  return { tried: killed, failed, seen: `${stores} stores, each the same bytes after one clean run` };
}
