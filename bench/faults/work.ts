import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { writeDigits } from "../../__tests__/cli/digits.js";
import { filesOf } from "../../__tests__/features/synthetic.js";
import { writeSmallBackbone } from "../../__tests__/small-backbone.js";
import { packageRoot } from "../../lib/package.js";

/** What a case tells: how often the fault was made, and what came of it. */
export interface Outcome {
  tried: number;
  /** In a few words each, the trials that did not come out as promised; none is what is wanted. */
  failed: string[];
  /** What was seen, in one sentence. */
  seen: string;
}

/** Thrown by a case that cannot be tried here. */
export class CannotTry extends Error {}

export interface Ended {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface Running {
  child: ChildProcess;
  ended: Promise<Ended>;
}

/** A small extraction in a folder of its own: a network of two convolutions, noise of 28 × 28. */
export interface Work {
  folder: string;
  /** The extraction's command line, without its features folder. */
  argv: string[];
  /** Starts the program. */
  start(argv: string[], environment?: NodeJS.ProcessEnv): Running;
  /** Starts it and waits. */
  run(argv: string[], environment?: NodeJS.ProcessEnv): Promise<Ended>;
  /** The store that the extraction makes below a features folder. */
  store(root: string): string;
  /** The digests of the files of an undisturbed store. */
  undisturbed: Record<string, string>;
  /** Seconds that the undisturbed extraction took, from the lock on. */
  seconds: number;
}

/** Makes backbone and images, and extracts once without any fault. */
export async function prepare(folder: string, images: number): Promise<Work> {
  await writeSmallBackbone({ root: path.join(folder, "models") });
  await writeDigits(path.join(folder, "digits"), { train: images, test: 1 });
  const argv = ["extract-features", "--backbone", "models/small/convnet", "--data", "mnist:digits", "--splits", "train", "--layers", "block0,features", "--device", "wasm", "--workers", "1"]; // prettier-ignore
  const start = (given: string[], environment: NodeJS.ProcessEnv = {}): Running => {
    const program = path.join(packageRoot, "cli", "bin", "frozen-eval.cjs");
    const env = { ...process.env, ...environment };
    const child = spawn(process.execPath, [program, ...given], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
    const told = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => (told.stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (told.stderr += text));
    const ended = new Promise<Ended>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (status, signal) => resolve({ status, signal, ...told }));
    });
    return { child, ended };
  };
  const run = (given: string[], environment?: NodeJS.ProcessEnv) => start(given, environment).ended;
  const store = (root: string) => path.join(folder, root, "small", "convnet", "digits", "features_train");
  const work: Work = { folder, argv, start, run, store, undisturbed: {}, seconds: 0 };
  const { ended } = start([...argv, "--features-root", "undisturbed"]);
  await begun(work, "undisturbed", ended);
  const began = performance.now();
  const { status, stderr } = await ended;
  if (status !== 0) throw new Error(stderr);
  work.seconds = (performance.now() - began) / 1000;
  work.undisturbed = await filesOf(store("undisturbed"));
  return work;
}

/** Waits until an extraction has taken its store's lock, or is over. */
export async function begun(work: Work, root: string, ended: Promise<unknown>): Promise<void> {
  let over = false;
  void ended.then(() => (over = true));
  while (!over && !fs.existsSync(path.join(work.store(root), "lock"))) await sleep(2);
}

/** Whether a store is the undisturbed one, to the byte. */
export async function isUndisturbed(work: Work, root: string): Promise<boolean> {
  return JSON.stringify(await filesOf(work.store(root))) === JSON.stringify(work.undisturbed);
}
