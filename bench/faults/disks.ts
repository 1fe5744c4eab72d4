import { execFileSync } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";

import { filesOf } from "../../__tests__/features/synthetic.js";
import { CannotTry, isUndisturbed } from "./work.js";
import type { Outcome, Work } from "./work.js";

/** A file system in memory, of so many bytes, for as long as `use` takes. */
async function withTmpfs(
  work: Work,
  name: string,
  bytes: number,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  if (process.getuid?.() !== 0) throw new CannotTry("for it needs a file system of its own, and so root");
  const folder = path.join(work.folder, name);
  await fs.mkdir(folder, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", folder]);
  try {
    await use(folder);
  } finally {
    execFileSync("umount", [folder]);
  }
}

const remount = (folder: string, options: string) => execFileSync("mount", ["-o", `remount,${options}`, folder]);

/** Disks that are full at different moments: one sentence, nothing half-written, and with more room the same bytes. */
export async function fullDisk(work: Work): Promise<Outcome> {
  const failed: string[] = [];
  const sizes = await Promise.all(Object.keys(work.undisturbed).map((name) => fs.stat(path.join(work.store("undisturbed"), name)))); // prettier-ignore
  const whole = sizes.reduce((sum, { size }) => sum + size, 0);
  const shares = [0.02, 0.2, 0.4, 0.6, 0.8, 0.97];
  for (const share of shares) {
    await withTmpfs(work, "full", Math.ceil(whole * share), async (folder) => {
      const argv = [...work.argv, "--features-root", "full"];
      const { status, stderr } = await work.run(argv);
      if (status !== 2 || !/error: Expected room on the disk/.test(stderr)) failed.push(`${share}: exit code ${status}: ${stderr.slice(-300)}`); // prettier-ignore
      const left = Object.keys(await filesOf(folder)).filter((name) => /\.partial$|(^|\/)lock/.test(name));
      if (left.length > 0) failed.push(`${share}: left ${left.join(", ")}`);
      remount(folder, `size=${2 * whole + 2 ** 20}`);
      const again = await work.run(argv);
      if (again.status !== 0 || !(await isUndisturbed(work, "full")))
        failed.push(`${share}: ${again.stderr.slice(-300)}`);
    });
  }
  const told = shares.map((share) => `${100 * share} %`).join(", ");
  return { tried: shares.length, failed, seen: `room for ${told} of the store: one sentence, exit code 2, and with more room the same bytes` }; // prettier-ignore
}

/** A folder that may only be read: a sentence where something has to be written, and none where all is there. */
export async function readOnlyFolder(work: Work): Promise<Outcome> {
  const failed: string[] = [];
  await withTmpfs(work, "readonly", 2 ** 28, async (folder) => {
    const argv = [...work.argv, "--features-root", "readonly"];
    remount(folder, "ro");
    const empty = await work.run(argv);
    if (empty.status !== 2 || !/error: Expected to write .* but/.test(empty.stderr)) failed.push(`empty: ${empty.stderr.slice(-300)}`); // prettier-ignore
    remount(folder, "rw");
    await work.run(argv);
    remount(folder, "ro");
    const whole = await work.run(argv);
    if (whole.status !== 0 || !whole.stdout.includes("All was there"))
      failed.push(`whole: ${whole.stderr.slice(-300)}`);
    const more = await work.run([...argv, "--layers", "block1"]);
    if (more.status !== 2 || !/error: Expected to write .* but/.test(more.stderr)) failed.push(`more: ${more.stderr.slice(-300)}`); // prettier-ignore
    remount(folder, "rw");
    if (!(await isUndisturbed(work, "readonly"))) failed.push("the store has changed");
  });
  return { tried: 3, failed, seen: "an empty one and one more layer: one sentence, exit code 2; a whole store is used as it is" }; // prettier-ignore
}
