import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

import { messageOf, UserError } from "../errors.js";

import { bindingInFolder } from "./installation.js";

const run = promisify(execFile);

/** A C++ compiler that answers. */
export interface Compiler {
  command: string;
  /** Its own words, e.g. `"g++ (Debian 12.2.0-14) 12.2.0"`. */
  version: string;
}

/**
 * The C++ compiler to use: `CXX`, else the first of g++, c++ and clang++ that runs.
 *
 * @throws UserError where there is none.
 */
export async function findCompiler(): Promise<Compiler> {
  const candidates = process.env.CXX ? [process.env.CXX] : ["g++", "c++", "clang++"];
  for (const command of candidates) {
    const answer = await run(command, ["--version"]).catch(() => undefined);
    if (answer) return { command, version: answer.stdout.split("\n")[0]!.trim() };
  }
  throw new UserError(
    `Expected a C++ compiler (${candidates.join(", ")}) to build the native backend but there is none`,
    {
      hint:
        "Install one (Debian and Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++; Alpine is not supported by " +
        "TensorFlow), and run npx frozen-eval setup again.",
    },
  );
}

/**
 * Compiles the unmodified C++ sources of tfjs-node in `folder` (see Installation) against the TensorFlow that stands
 * there. The binding finds the libraries by a relative path, so the folder may be moved. It is a Node-API module of
 * version 8: one build serves Node 20 and later.
 *
 * @throws UserError where the compiler fails: with its last words.
 */
export async function compileBinding(options: { folder: string; include: string; compiler: Compiler }): Promise<void> {
  const { folder, include, compiler } = options;
  const sources = path.join(folder, "tfjs-node", "binding");
  const output = path.join(folder, bindingInFolder);
  const libraries = path.join(folder, "tensorflow");
  const headers = path.join(path.dirname(require.resolve("node-api-headers/package.json")), "include");
  await fs.mkdir(path.dirname(output), { recursive: true });
  const toLibraries = path.relative(path.dirname(output), libraries);
  const flags = ["-O2", "-std=c++17", "-fPIC", "-shared", "-DNAPI_VERSION=8", "-w"];
  const includes = [headers, include, path.join(folder, "tfjs-node"), sources].map((name) => `-I${name}`);
  try {
    await run(
      compiler.command,
      [
        ...flags,
        ...includes,
        path.join(sources, "tfjs_backend.cc"),
        path.join(sources, "tfjs_binding.cc"),
        "-o",
        output,
        `-L${libraries}`,
        "-l:libtensorflow_cc.so.2",
        "-l:libtensorflow_framework.so.2",
        `-Wl,-rpath,$ORIGIN/${toLibraries}`,
      ],
      { maxBuffer: 1 << 26 },
    );
  } catch (error) {
    const said = error instanceof Error && "stderr" in error ? String(error.stderr) : "";
    const last = said.split("\n").find((line) => line.includes("error")) ?? messageOf(error).split("\n")[0]!;
    throw new UserError(`Expected ${compiler.version} to compile the native backend but it failed: ${last.trim()}`, {
      hint: "A compiler of C++17 is needed (g++ 9 or clang 10, or later); CXX names another one.",
      cause: error,
    });
  }
}
