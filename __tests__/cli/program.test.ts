import { spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { commands } from "../../cli/frozen-eval.js";
import { root } from "../golden.js";

/** The program as a user runs it: a process of its own, through the launchers that package.json names. */
const bin = (name: string) => path.join(root, "cli", "bin", `${name}.cjs`);
const run = (program: string, ...argv: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin(program), ...argv], {
    encoding: "utf8",
    cwd: folder,
  });
  return { status, stdout, stderr };
};

let folder: string;
beforeAll(() => (folder = mkdtempSync(path.join(os.tmpdir(), "program-"))));
afterAll(() => rmSync(folder, { recursive: true }));

describe("frozen-eval", () => {
  test("without a command lists the commands", () => {
    const { status, stdout, stderr } = run("frozen-eval");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    for (const name of Object.keys(commands)) expect(stdout).toContain(`  ${name} `);
    expect(run("frozen-eval", "--help").stdout).toBe(stdout);
  });

  test("tells its version", () => {
    const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as { version: string };
    expect(run("frozen-eval", "--version").stdout).toBe(`${version}\n`);
    expect(run("eval-linear", "--version").stdout).toBe(`${version}\n`);
  });

  test("names the nearest command for one that does not exist", () => {
    expect(run("frozen-eval", "insepct")).toEqual({
      status: 2,
      stdout: "",
      stderr: 'error: Expected a command of frozen-eval but received "insepct"\nDid you mean inspect?\n',
    });
    expect(run("frozen-eval", "constructor").status).toBe(2);
  });

  test("helps with one command", () => {
    const { status, stdout } = run("frozen-eval", "inspect", "--help");
    expect(status).toBe(0);
    expect(stdout).toContain("Usage: npx frozen-eval inspect DIR [options]");
    expect(stdout).toContain("Examples:");
    expect(run("frozen-eval", "help", "inspect").stdout).toBe(stdout);
  });
});

describe("eval-linear", () => {
  test("is a program of its own, and helps in groups with defaults and examples", () => {
    const { status, stdout } = run("eval-linear", "--help");
    expect(status).toBe(0);
    expect(stdout).toContain("Usage: npx eval-linear [OVERRIDE...] [options]");
    expect(stdout).toMatch(/Training:\n {2}--heads HEAD,\.\.\. /);
    expect(stdout).toContain("--[no-]nesterov");
    expect(stdout).toContain("(default: 0.003,0.01,0.03,0.1,0.3)");
    expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(120);
    expect(run("frozen-eval", "eval-linear", "--help").stdout).toBe(stdout);
  });

  test("names the nearest flag for one that does not exist", () => {
    expect(run("eval-linear", "--epoch", "3")).toEqual({
      status: 2,
      stdout: "",
      stderr: 'error: Expected a flag of this command but received "--epoch"\nDid you mean --epochs or --search?\n',
    });
  });

  test("asks for what is missing in one sentence", () => {
    const { status, stdout, stderr } = run("eval-linear", "--data", "folder:photos");
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toBe(
      "error: Expected a folder for --backbone but received nothing\nOr give --features, if they have been extracted.\n",
    );
    expect(run("eval-linear", "--features", "a", "--data", "folder:b").stderr).toContain(
      "error: Expected either --features or --data but received both",
    );
  });

  test("names file and line of a mistake in YAML", () => {
    writeFileSync(path.join(folder, "my.yaml"), "extends: vissl/linear\nepochs: ten\n");
    expect(run("eval-linear", "--config", "my.yaml")).toEqual({
      status: 2,
      stdout: "",
      stderr:
        'error: Expected a whole number of at least 1 for epochs (my.yaml:2) but received "ten"\n' +
        "Passes over the training images.\n",
    });
  });

  test("prints settings that give the same settings back", () => {
    const first = run("eval-linear", "--config", "vissl/linear", "--data", "folder:a", "--print-config");
    expect(first).toMatchObject({ status: 0, stderr: "" });
    writeFileSync(path.join(folder, "printed.yaml"), first.stdout);
    expect(run("eval-linear", "--config", "printed.yaml", "--print-config")).toEqual(first);
  });
});

test("what is only told needs no TensorFlow", () => {
  const script = `
    const { main } = require(${JSON.stringify(path.join(root, "dist", "cli", "frozen-eval.js"))});
    process.stdout.write = (text, done) => (done(), true);
    (async () => {
      for (const argv of [[], ["eval-linear", "--help"], ["eval-linear", "--print-config"]]) await main(argv);
      const loaded = Object.keys(require.cache).filter((file) => /@tensorflow|node_modules.(sharp|vega)/.test(file));
      process.stderr.write(JSON.stringify(loaded));
    })();`;
  expect(spawnSync(process.execPath, ["-e", script], { encoding: "utf8" }).stderr).toBe("[]");
});

test("a fresh clone is compiled once by its launcher", () => {
  const clone = path.join(folder, "clone");
  for (const name of ["cli/bin", "package.json"]) {
    cpSync(path.join(root, name), path.join(clone, name), { recursive: true });
  }
  symlinkSync(path.join(root, "node_modules"), path.join(clone, "node_modules"));
  // A program of one file stands for ours, so that the test is quick: what is tested is the launcher.
  mkdirSync(path.join(clone, "cli"), { recursive: true });
  writeFileSync(
    path.join(clone, "cli", "frozen-eval.ts"),
    "export const main = async (argv: string[]) => (console.log(argv.join()), 7);\n",
  );
  writeFileSync(
    path.join(clone, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: { outDir: "dist", rootDir: ".", module: "Node16", types: ["node"], skipLibCheck: true },
      include: ["cli"],
    }),
  );
  const launch = () =>
    spawnSync(process.execPath, [path.join(clone, "cli/bin/eval-linear.cjs"), "--a"], { encoding: "utf8" });
  expect(launch()).toMatchObject({ status: 7, stdout: "eval-linear,--a\n", stderr: "Compiling frozen-eval, once.\n" });
  expect(launch()).toMatchObject({ status: 7, stdout: "eval-linear,--a\n", stderr: "" });
});

describe("a command", () => {
  /** A program whose only command is `body`. */
  const script = (body: string) => `
    const { command, runCommand } = require(${JSON.stringify(path.join(root, "dist", "cli", "command.js"))});
    const { UserError } = require(${JSON.stringify(path.join(root, "dist", "lib", "errors.js"))});
    const { z } = require(${JSON.stringify(path.join(root, "node_modules", "zod"))});
    const definition = { command: "try", summary: "Try", schema: z.strictObject({}), examples: [] };
    const run = async (settings, { signal, progress }) => { ${body} };
    runCommand(command(definition, run), process.argv.slice(1)).then((code) => process.exit(code));`;
  const tried = (body: string, ...argv: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ["-e", script(body), "--", ...argv], {
      encoding: "utf8",
    });
    return { status, stdout, stderr };
  };

  test("prints its text, or with --json its record, and nothing else when quiet", () => {
    const body = `progress.note("working"); return { text: "done", json: { done: true } };`;
    expect(tried(body)).toEqual({ status: 0, stdout: "done\n", stderr: "working\n" });
    expect(tried(body, "--json", "-q")).toEqual({ status: 0, stdout: '{\n  "done": true\n}\n', stderr: "" });
    expect(tried(`return { text: "no", json: null, exitCode: 1 };`).status).toBe(1);
  });

  test("tells a mistake of the user's without a stack, and one of ours with it", () => {
    expect(tried(`throw new UserError("Expected a but received b", { hint: "Give a." });`)).toEqual({
      status: 2,
      stdout: "",
      stderr: "error: Expected a but received b\nGive a.\n",
    });
    const defect = tried(`throw new TypeError("x is not a function");`);
    expect(defect.status).toBe(1);
    expect(defect.stderr).toMatch(/^TypeError: x is not a function\n +at /);
    expect(defect.stderr).toContain("This is a defect of frozen-eval");
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("stops cleanly on %s", async (signal, exitCode) => {
    const body = `
      const alive = setInterval(() => {}, 1000);
      await new Promise((resolve) => { signal.addEventListener("abort", resolve); process.stdout.write("ready"); });
      clearInterval(alive);
      signal.throwIfAborted();`;
    expect(await stopped(body, [signal])).toEqual({
      exitCode,
      stderr: expect.stringMatching(/Stopped\. The same command goes on where this one was\.\n$/) as string,
    });
  });

  test("that does not stop is ended by the second signal", async () => {
    const body = `process.stdout.write("ready"); setInterval(() => {}, 1000); await new Promise(() => {});`;
    expect((await stopped(body, ["SIGINT", "SIGINT"])).exitCode).toBe(130);
  });

  test("ends quietly when its reader has gone", async () => {
    const body = `await new Promise((resolve) => setTimeout(resolve, 200)); return { text: "a".repeat(1e6), json: 1 };`;
    const child = spawn(process.execPath, ["-e", script(body)]);
    child.stdout.destroy();
    expect(await ended(child)).toEqual({ exitCode: 0, stderr: "" });
  });

  async function stopped(
    body: string,
    signals: NodeJS.Signals[],
  ): Promise<{ exitCode: number | null; stderr: string }> {
    const child = spawn(process.execPath, ["-e", script(body)]);
    const end = ended(child);
    await new Promise((resolve) => child.stdout.once("data", resolve));
    for (const signal of signals) {
      child.kill(signal);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return end;
  }
});

async function ended(child: ReturnType<typeof spawn>): Promise<{ exitCode: number | null; stderr: string }> {
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const exitCode = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { exitCode, stderr };
}
