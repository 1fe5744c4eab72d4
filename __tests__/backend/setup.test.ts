import { spawn, type ChildProcess } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";

import { findInstallation, installationFolder } from "../../lib/backend/installation.js";
import { setUpNative } from "../../lib/backend/setup.js";
import { tensorflowVersion } from "../../lib/backend/tensorflow-wheels.js";
import { noNative } from "../backends.js";
import { type LocalServer, serve, sha256 } from "../downloads/server.js";
import { zip } from "../downloads/zip.js";
import { root } from "../golden.js";

/** A small wheel in TensorFlow's place; the true one is set up before the tests run (`__tests__/run.cjs`). */
const content = zip({
  "tensorflow/libtensorflow_cc.so.2": "the library",
  "tensorflow/libtensorflow_framework.so.2": "its framework",
  "tensorflow/include/tensorflow/c/c_api.h": "// C",
  "tensorflow/include/tensorflow/core/platform/ctstring.h": "// strings",
  "tensorflow/include/unrelated/large.h": "// not needed",
  "tensorflow/python/large.so": "not needed",
  "tensorflow_cpu-2.21.0.dist-info/LICENSE": "Apache",
});
const wheel = { project: "tensorflow-cpu", filename: "tensorflow_cpu-test.whl", sha256: sha256(content) };

/**
 * A compiler in g++'s place: looks whether it was given what the true one needs, then compiles a module that only tells
 * TensorFlow's version.
 */
const stub = `
#include <node_api.h>
extern "C" napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  napi_value version;
  napi_create_string_utf8(env, "${tensorflowVersion}", NAPI_AUTO_LENGTH, &version);
  napi_set_named_property(env, exports, "TF_Version", version);
  return exports;
}`;
const fakeCompiler = (folder: string) => `#!/bin/sh
[ "$1" = --version ] && { echo "fake 1.0"; exit 0; }
echo compiled >> "${folder}/compiled"
sleep \${FAKE_SECONDS:-0}
while [ $# -gt 0 ]; do
  case "$1" in
    -o) output=$2; shift ;;
    -I*/include) [ -f "\${1#-I}/tensorflow/c/c_api.h" ] && headers=yes; node="$node $1" ;;
    *tfjs_b*.cc) [ -f "$1" ] || { echo "error: no $1" >&2; exit 1; } ;;
  esac
  shift
done
[ -n "$headers" ] || { echo "error: no headers of TensorFlow" >&2; exit 1; }
exec g++ -shared -fPIC $node -x c++ "${folder}/stub.cc" -o "$output"
`;

// It needs what native TensorFlow needs: Linux, a compiler.
const describeOrSkip = noNative ? describe.skip : describe;

describeOrSkip(`setUpNative${noNative ? ` (${noNative})` : ""}`, () => {
  const names = ["FROZEN_EVAL_CACHE", "PIP_INDEX_URL", "CXX"] as const;
  const before = names.map((name) => process.env[name]);
  let folder: string;
  let server: LocalServer;
  beforeEach(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), "frozen-eval-test-"));
    const link = `<a href="/files/${wheel.filename}#sha256=${wheel.sha256}">wheel</a>`;
    server = await serve({
      "/simple/tensorflow-cpu/": { content: Buffer.from(link) },
      [`/files/${wheel.filename}`]: { content },
    });
    writeFileSync(path.join(folder, "stub.cc"), stub);
    writeFileSync(path.join(folder, "c++"), fakeCompiler(folder));
    chmodSync(path.join(folder, "c++"), 0o755);
    process.env.FROZEN_EVAL_CACHE = path.join(folder, "cache");
    process.env.PIP_INDEX_URL = `${server.url}/simple`;
    process.env.CXX = path.join(folder, "c++");
  });
  afterEach(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
    names.forEach((name, position) => {
      if (before[position] === undefined) delete process.env[name];
      else process.env[name] = before[position];
    });
  });
  const compilations = () =>
    existsSync(path.join(folder, "compiled"))
      ? readFileSync(path.join(folder, "compiled"), "utf8").match(/\n/g)!.length
      : 0;
  const cached = () => readdirSync(path.join(folder, "cache")).sort();
  const whole = ["downloads", `tensorflow-${tensorflowVersion}-cpu`];

  /** The set-up in a process of its own, which can be killed. */
  const start = (environment: Record<string, string> = {}): { child: ChildProcess; ended: Promise<string> } => {
    const library = path.join(root, "dist", "lib", "backend", "setup.js");
    const script =
      `require(${JSON.stringify(library)}).setUpNative({ wheel: ${JSON.stringify(wheel)} })` +
      `.then(({ built }) => console.log(built), (error) => console.log(error.message))`;
    const child = spawn(process.execPath, ["-e", script], {
      env: { ...process.env, ...environment },
      stdio: ["ignore", "pipe", "inherit"],
      detached: true,
    });
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
    return { child, ended: new Promise((resolve) => child.on("close", () => resolve(said.trim()))) };
  };

  test("makes the folder, once", async () => {
    const made = await setUpNative({ wheel });
    expect(made).toMatchObject({ built: true, cuda: false, tensorflow: tensorflowVersion });
    expect(readdirSync(made.folder).sort()).toEqual(["node_modules", "ready.json", "tensorflow", "tfjs-node"]);
    expect(readFileSync(path.join(made.folder, "tensorflow", "LICENSE"), "utf8")).toBe("Apache");
    // The wheel is no longer needed.
    expect(readdirSync(path.join(folder, "cache", "downloads"))).toEqual([]);
    const begun = performance.now();
    expect(await setUpNative({ wheel })).toEqual({ ...made, built: false });
    expect(performance.now() - begun).toBeLessThan(5_000);
    expect(compilations()).toBe(1);
    expect(await setUpNative({ wheel, force: true })).toEqual(made);
    expect(compilations()).toBe(2);
    expect(cached()).toEqual(whole);
  });

  test("tfjs-node's JavaScript and sources stand there unmodified", async () => {
    const { folder: made } = await setUpNative({ wheel });
    const published = path.dirname(require.resolve("@tensorflow/tfjs-node/package.json"));
    for (const file of ["dist/nodejs_kernel_backend.js", "binding/tfjs_backend.cc", "package.json"]) {
      expect(readFileSync(path.join(made, "tfjs-node", file))).toEqual(readFileSync(path.join(published, file)));
    }
  });

  test("a damaged folder is made again", async () => {
    const made = await setUpNative({ wheel });
    truncateSync(path.join(made.folder, "tensorflow", "libtensorflow_cc.so.2"), 3);
    expect(await findInstallation({ cuda: false })).toBeUndefined();
    expect((await setUpNative({ wheel })).built).toBe(true);
    // The same length: only the digest tells.
    writeFileSync(path.join(made.folder, "tensorflow", "libtensorflow_cc.so.2"), "the libraxy");
    expect((await setUpNative({ wheel })).built).toBe(false);
    expect((await setUpNative({ wheel, verify: true })).built).toBe(true);
    rmSync(path.join(made.folder, "ready.json"));
    expect((await setUpNative({ wheel })).built).toBe(true);
  });

  test("killed while it compiles, it starts again and leaves nothing over", async () => {
    const { child, ended } = start({ FAKE_SECONDS: "30" });
    while (compilations() === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    process.kill(-child.pid!, "SIGKILL");
    await ended;
    expect(existsSync(installationFolder(false))).toBe(false);
    expect(cached()).toHaveLength(3); // downloads, the lock, the temporary folder
    expect((await setUpNative({ wheel })).built).toBe(true);
    expect(cached()).toEqual(whole);
    // The wheel was there already.
    expect(server.requests.filter(({ path: asked }) => asked.endsWith(".whl"))).toHaveLength(1);
  });

  test("killed while it fetches, it goes on from there", async () => {
    const part = path.join(folder, "cache", "downloads", `${wheel.filename}.part`);
    const seen = () => statSync(part).size;
    server.files[`/files/${wheel.filename}`] = { content, cut: { after: 100, times: 1, seen } };
    mkdirSync(path.dirname(part), { recursive: true });
    writeFileSync(part, content.subarray(0, 50));
    expect((await setUpNative({ wheel })).built).toBe(true);
    expect(server.requests.map(({ range }) => range)).toEqual([undefined, "bytes=50-", "bytes=150-"]);
  });

  test("several at once make it once", async () => {
    const said = await Promise.all([start({ FAKE_SECONDS: "1" }), start(), start()].map(({ ended }) => ended));
    expect(said.sort()).toEqual(["false", "false", "true"]);
    expect(compilations()).toBe(1);
    expect(cached()).toEqual(whole);
  });

  test("without a compiler it says how to get one, before anything is fetched", async () => {
    process.env.CXX = path.join(folder, "none");
    await expect(setUpNative({ wheel })).rejects.toMatchObject({
      name: "UserError",
      message: expect.stringContaining("Expected a C++ compiler") as string,
      hint: expect.stringContaining("apt-get install g++") as string,
    });
    expect(server.requests).toEqual([]);
  });

  test("what the compiler complains about is told, and nothing is left", async () => {
    writeFileSync(path.join(folder, "stub.cc"), "this is no C++");
    await expect(setUpNative({ wheel })).rejects.toThrow(/Expected fake 1\.0 to compile .* error: /);
    expect(cached()).toEqual(["downloads"]);
    writeFileSync(path.join(folder, "stub.cc"), stub.replace(tensorflowVersion, "2.9.1"));
    await expect(setUpNative({ wheel })).rejects.toThrow("but received one to 2.9.1");
    writeFileSync(path.join(folder, "stub.cc"), "int missing(); int used = missing();");
    await expect(setUpNative({ wheel })).rejects.toThrow("Expected the compiled binding to load but it does not");
    expect(existsSync(installationFolder(false))).toBe(false);
  });
});
