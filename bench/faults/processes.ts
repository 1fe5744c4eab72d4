import { execFileSync } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { random } from "../../lib/random.js";
import { begun, CannotTry, isUndisturbed } from "./work.js";
import type { Outcome, Work } from "./work.js";

/** Extractions into one store at the same time: one writes, the others are told so or find all there. */
export async function twoProcesses(work: Work, count = 10): Promise<Outcome> {
  const failed: string[] = [];
  let refused = 0;
  for (let i = 0; i < count; i++) {
    const root = `shared-${i}`;
    const argv = [...work.argv, "--features-root", root];
    const first = work.start(argv);
    if (i % 2 === 1) await begun(work, root, first.ended);
    const both = await Promise.all([first.ended, work.run(argv)]);
    const busy = both.filter(({ status, stderr }) => status === 2 && /alone but process \d+/.test(stderr)).length;
    refused += busy;
    if (both.filter(({ status }) => status === 0).length + busy !== 2) failed.push(both.map(({ stderr }) => stderr.slice(-300)).join("\n")); // prettier-ignore
    if (!(await isUndisturbed(work, root))) failed.push(`store ${i} differs`);
    await fs.rm(path.join(work.folder, root), { recursive: true });
  }
  return {
    tried: count,
    failed,
    seen: `${refused} times the second was refused in one sentence; each store the same bytes`,
  };
}

/** Ctrl-C, and once more soon after: the first stops after the step in hand, the second at once. */
export async function interruptTwice(work: Work, count = 20): Promise<Outcome> {
  const chance = random(Number(process.env.SEED ?? 0), "interrupts");
  const failed: string[] = [];
  for (let i = 0; i < count; i++) {
    const root = `interrupted-${i}`;
    const argv = [...work.argv, "--features-root", root];
    const { child, ended } = work.start(argv);
    await begun(work, root, ended);
    await sleep(1000 * work.seconds * chance.uniform());
    child.kill("SIGINT");
    await sleep(50 * chance.uniform());
    child.kill("SIGINT");
    const { status, signal, stderr } = await ended;
    // The second may come when the program has just let go of its signals, and then ends it as any other.
    if (status !== 130 && status !== 0 && signal !== "SIGINT")
      failed.push(`exit code ${status}: ${stderr.slice(-300)}`);
    const again = await work.run(argv);
    if (again.status !== 0 || !(await isUndisturbed(work, root)))
      failed.push(`store ${i}: ${again.stderr.slice(-300)}`);
    await fs.rm(path.join(work.folder, root), { recursive: true });
  }
  return { tried: count, failed, seen: "exit code 130; one run later the same bytes" };
}

/** A job of a launch is killed: the others go on, it is told, and the same command does what is missing. */
export async function dyingWorker(work: Work, count = 5): Promise<Outcome> {
  const failed: string[] = [];
  for (let i = 0; i < count; i++) {
    const root = `dying-${i}`;
    const argv = [...work.argv, "--features-root", root, "--launch", "local:2"];
    const { ended } = work.start(argv);
    const lock = path.join(work.store(root).replace(/features_train$/, "features_train_part2of2"), "lock");
    let holder: { pid: number } | undefined;
    while (!holder) {
      holder = JSON.parse(await fs.readFile(lock, "utf8").catch(() => "null")) as { pid: number } | undefined;
      await sleep(2);
    }
    process.kill(holder.pid, "SIGKILL");
    const { status, stderr } = await ended;
    if (status !== 2 || !/job 2 .*ended: SIGKILL/.test(stderr))
      failed.push(`exit code ${status}: ${stderr.slice(-300)}`);
    const again = await work.run(argv);
    if (again.status !== 0 || !(await isUndisturbed(work, root)))
      failed.push(`store ${i}: ${again.stderr.slice(-300)}`);
    await fs.rm(path.join(work.folder, root), { recursive: true });
  }
  return {
    tried: count,
    failed,
    seen: "kill -9 of one of two jobs: told in one sentence, and one run later the same bytes",
  };
}

/**
 * Clocks that are years off, that run a thousand times as fast, and that differ between a run that was killed and the
 * next; and a second process whose clock says that the first is long gone.
 */
export async function jumpingClock(work: Work): Promise<Outcome> {
  const library = fakeTime();
  const clocks = ["+2y", "-2y", "+0 x1000", "@1970-01-02 00:00:00", "@2038-01-20 00:00:00"];
  const under = (clock: string) => ({ LD_PRELOAD: library, FAKETIME: clock, FAKETIME_DONT_FAKE_MONOTONIC: "1" });
  const failed: string[] = [];
  for (const [i, clock] of clocks.entries()) {
    const root = `clock-${i}`;
    const argv = [...work.argv, "--features-root", root];
    const first = work.start(argv);
    await begun(work, root, first.ended);
    const second = await work.run(argv, under(clock));
    if (second.status !== 2 || !/alone but process/.test(second.stderr)) failed.push(`${clock}: the second was let in: ${second.stderr.slice(-300)}`); // prettier-ignore
    first.child.kill("SIGKILL");
    await first.ended;
    const again = await work.run(argv, under(clock));
    if (again.status !== 0 || !(await isUndisturbed(work, root))) failed.push(`${clock}: ${again.stderr.slice(-300)}`);
    await fs.rm(path.join(work.folder, root), { recursive: true });
  }
  return { tried: clocks.length, failed, seen: `${clocks.join(", ")}: the store's lock holds, and the next run makes the same bytes` }; // prettier-ignore
}

function fakeTime(): string {
  try {
    return execFileSync("sh", ["-c", "ls /usr/lib/*/faketime/libfaketime.so.1"], { encoding: "utf8" }).trim();
  } catch {
    throw new CannotTry("for it needs libfaketime (Debian: faketime)");
  }
}
