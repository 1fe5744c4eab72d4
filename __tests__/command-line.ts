import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setImmediate } from "node:timers/promises";

import { noNative } from "./backends.js";
import { root } from "./golden.js";

/** What computes in tests of the command line that do not name a device themselves. */
export const device = noNative ? "wasm" : "native";

export type Program = "frozen-eval" | "eval-linear" | "train-svm";

export interface Ended {
  /** The exit code; null where a signal ended the process. */
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface Started {
  child: ChildProcess;
  ended: Promise<Ended>;
}

/** Starts a program of package.json's in a process of its own, as a user does; `cwd` is where the user stands. */
export function start(program: Program, argv: string[], cwd: string): Started {
  return startProcess([process.execPath, launcher(program), ...argv], cwd);
}

/** The file that package.json names for a program. */
export function launcher(program: Program): string {
  return path.join(root, "cli", "bin", `${program}.cjs`);
}

export function startProcess([command, ...argv]: string[], cwd: string, environment: NodeJS.ProcessEnv = {}): Started {
  const env = { ...process.env, ...environment };
  const child = spawn(command!, argv, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  const told = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (told.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (told.stderr += text));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, stdout: told.stdout, stderr: withoutTensorFlow(told.stderr) }));
  });
  return { child, ended };
}

/** Without what TensorFlow says while its library is loaded, whatever level of messages is set: that it uses oneDNN. */
function withoutTensorFlow(stderr: string): string {
  return stderr.replace(/^(WARNING: All log messages before absl|I0000 .* oneDNN custom operations are on).*\n/gm, "");
}

/** Runs a program to its end. */
export function run(program: Program, argv: string[], cwd: string): Promise<Ended> {
  return start(program, argv, cwd).ended;
}

/**
 * Runs a program in this process, for what a process of its own adds nothing to: the same mistake is told the same way,
 * and TensorFlow is loaded once. Each command is run as a user runs it elsewhere in its tests.
 */
export async function runHere(program: Program, argv: string[], cwd: string): Promise<Ended> {
  const { main } = await import("../cli/frozen-eval.js");
  // Node's warning of the way in which Jest loads modules is not the program's.
  await setImmediate();
  const told = { stdout: "", stderr: "" };
  const from = process.cwd();
  const spies = (["stdout", "stderr"] as const).map((stream) =>
    jest.spyOn(process[stream], "write").mockImplementation((text, ...rest) => {
      told[stream] += String(text);
      const done = rest.at(-1);
      if (typeof done === "function") done();
      return true;
    }),
  );
  process.chdir(cwd);
  try {
    return { status: await main(program === "eval-linear" ? [program, ...argv] : argv), ...told };
  } finally {
    process.chdir(from);
    for (const spy of spies) spy.mockRestore();
  }
}

/** A folder that is gone when the tests of this file are over. Its name has a space in it, as users' folders have. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), "frozen eval-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
