import fs from "node:fs/promises";
import path from "node:path";

import { openStore } from "../../lib/features/store.js";
import { openStoredSource } from "../../lib/features/stored-source.js";
import { verifyStore } from "../../lib/features/verify-store.js";
import { UserError } from "../../lib/errors.js";
import { random } from "../../lib/random.js";
import type { Outcome, Work } from "./work.js";

/**
 * One file of a store with one bit flipped, or cut: `store verify` must name it, and whoever reads all rows must be
 * told before a wrong number comes out.
 */
export async function damage(work: Work, count = 200): Promise<Outcome> {
  const chance = random(Number(process.env.SEED ?? 0), "damage");
  const folder = work.store("damaged");
  await fs.cp(work.store("undisturbed"), folder, { recursive: true });
  const files = Object.keys(work.undisturbed).filter((name) => name !== "store.json");
  const failed: string[] = [];
  for (let i = 0; i < count; i++) {
    const name = files[chance.integer(files.length)]!;
    const file = path.join(folder, name);
    const sound = await fs.readFile(file);
    const at = chance.integer(sound.length);
    const damaged = Buffer.from(sound.subarray(0, i % 2 === 0 ? sound.length : at));
    if (i % 2 === 0) damaged[at]! ^= 1 << chance.integer(8);
    await fs.writeFile(file, damaged);
    const found = await verifyStore({ folder });
    if (found.damaged.map(({ file }) => file).join() !== file) failed.push(`${name} at ${at}: not found by verify`);
    const told = await readAll(folder).catch((error: unknown) => error);
    if (!(told instanceof UserError && told.message.includes(file))) failed.push(`${name} at ${at}: not found by reading`); // prettier-ignore
    await fs.writeFile(file, sound);
  }
  if ((await verifyStore({ folder })).damaged.length > 0) failed.push("the store is damaged after its repair");
  return { tried: count, failed, seen: "half of them one bit, half a cut; each named by store verify and by reading" };
}

/** Opens a store and reads each row of each layer. */
async function readAll(folder: string): Promise<void> {
  const store = await openStore({ folder });
  const source = await openStoredSource({ store, layers: store.layers });
  try {
    for await (const { features } of source.pass({ rows: Uint32Array.from({ length: store.size }, (_, row) => row), batchSize: 512 })) Object.values(features).forEach((t) => t.dispose()); // prettier-ignore
  } finally {
    await source.close();
  }
}
