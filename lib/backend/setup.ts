import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { promisify } from "node:util";

import { extractEntries, readEntry } from "../downloads/archive.js";
import { cacheFolder } from "../downloads/cache.js";
import { withLock } from "../lock.js";
import { downloadNpmPackage } from "../downloads/npm.js";
import { downloadWheel } from "../downloads/pypi.js";
import { messageOf, UserError } from "../errors.js";
import { asWriteError, exists, sha256OfFile, temporaryName, writeFileAtomic, writeJson } from "../files.js";
import { type Progress, silent } from "../progress.js";

import { type Compiler, compileBinding, findCompiler } from "./compile-binding.js";
import {
  bindingInFolder,
  findInstallation,
  type Installation,
  installationFolder,
  type ReadyRecord,
  recipe,
} from "./installation.js";
import { cudaWheels, tensorflowVersion, tensorflowWheel, type Wheel } from "./tensorflow-wheels.js";

export interface SetUpOptions {
  /** Also NVIDIA's libraries, and the TensorFlow that uses them. Some 3 GB are fetched. */
  cuda?: boolean;
  progress?: Progress;
  /** Makes it again even where it is whole. */
  force?: boolean;
  /** Compares the digest of every file of what is there before it is believed (some seconds). */
  verify?: boolean;
  /** Another wheel with TensorFlow's C library, for instance one built for a special machine. */
  wheel?: Wheel;
}

export interface SetUpResult extends Installation {
  /** False where everything was there already and nothing was done. */
  built: boolean;
}

/**
 * Prepares native TensorFlow once for all projects of this user: the C library from TensorFlow's wheel in the Python
 * package index (no Python is needed) and, compiled against it, the unmodified binding of `@tensorflow/tfjs-node`.
 *
 * It may be interrupted and run again, also by several processes at once: what was fetched is kept, the folder appears
 * under its name only when it is whole, and where it is there nothing is done.
 *
 * @throws UserError where there is no TensorFlow for this machine, no compiler, no connection or no room.
 */
export async function setUpNative(options: SetUpOptions = {}): Promise<SetUpResult> {
  const { cuda = false, progress = silent, force = false, verify = false, wheel = tensorflowWheel({ cuda }) } = options;
  const found = force ? undefined : await findInstallation({ cuda, verify });
  if (found) return { ...found, built: false };
  const compiler = await findCompiler();
  const folder = installationFolder(cuda);
  const begun = Date.now();
  const waiting = (holder: string) => progress.note(`Waiting for ${holder}, which sets up native TensorFlow`);
  return withLock({ file: `${folder}.lock`, waiting }, async () => {
    // Whoever held the lock has perhaps just made it.
    const made = await findInstallation({ cuda, verify });
    if (made && (!force || (await fs.stat(path.join(folder, "ready.json"))).mtimeMs > begun)) {
      return { ...made, built: false };
    }
    await removeLeftOvers(folder);
    const temporary = temporaryName(folder);
    try {
      await make({ folder: temporary, cuda, wheel, compiler, progress });
      // Programs that run on the old one keep its files open; it goes when they end.
      if (await exists(folder)) await fs.rename(folder, temporaryName(folder));
      await fs.rename(temporary, folder);
    } catch (error) {
      throw asWriteError(error, folder);
    } finally {
      await removeLeftOvers(folder);
    }
    const installation = await findInstallation({ cuda });
    if (!installation) throw new Error(`${folder} is not whole right after it was made`);
    return { ...installation, built: true };
  });
}

interface Make {
  folder: string;
  cuda: boolean;
  wheel: Wheel;
  compiler: Compiler;
  progress: Progress;
}

async function make({ folder, cuda, wheel, compiler, progress }: Make): Promise<void> {
  const downloads = path.join(cacheFolder(), "downloads");
  progress.note(`Setting up TensorFlow ${tensorflowVersion}${cuda ? " with CUDA" : ""} (once for all projects)`);
  const tensorflow = await downloadWheel({ ...wheel, into: downloads, progress });
  const wheels = [tensorflow];
  if (cuda) {
    const metadata = await readEntry({
      archive: tensorflow,
      matches: (name) => /^[^/]+\.dist-info\/METADATA$/.test(name),
    });
    // TensorFlow with CUDA is there for this one alone.
    const planned = await cudaWheels({ metadata: metadata ?? "", machine: "x86_64" });
    for (const needed of planned) wheels.push(await downloadWheel({ ...needed, into: downloads, progress }));
  }

  progress.note(`Unpacking ${wheels.length === 1 ? "it" : `${wheels.length} wheels`}`);
  const include = path.join(folder, "include");
  await extractEntries({ archive: tensorflow, into: folder, select: fromTensorflow });
  for (const archive of wheels.slice(1)) await extractEntries({ archive, into: folder, select: fromNvidia });
  await placeJavaScript(folder, progress);

  progress.note(`Compiling the binding with ${compiler.version}`);
  await compileBinding({ folder, include, compiler });
  await fs.rm(include, { recursive: true });
  await checkThatItLoads(folder);
  await writeReady(folder, wheels, compiler);
  for (const archive of wheels) await fs.rm(archive, { force: true });
}

/** The C library, its licence, and the headers that the binding includes. */
function fromTensorflow(name: string): string | undefined {
  if (/^tensorflow\/libtensorflow_(cc|framework)\.so\.2$/.test(name)) return name;
  if (/^[^/]+\.dist-info\/(licenses\/)?LICENSE$/.test(name)) return "tensorflow/LICENSE";
  const header =
    /^tensorflow\/(include\/(tensorflow\/c\/(eager\/)?|(tensorflow\/core|tsl)\/platform\/ctstring|xla\/tsl\/c\/)[^/]*\.h)$/;
  return header.exec(name)?.[1];
}

function fromNvidia(name: string): string | undefined {
  return /^nvidia\/.+/.test(name) && !/\/include\/|\.(py|h|a)$/.test(name) ? name : undefined;
}

// What the npm packages are fetched as where they are not installed; the versions and digests of package-lock.json.
const tfjsNode = {
  name: "@tensorflow/tfjs-node",
  version: "4.22.0",
  integrity: "sha512-uHrXeUlfgkMxTZqHkESSV7zSdKdV0LlsBeblqkuKU9nnfxB1pC6DtoyYVaLxznzZy7WQSegjcohxxCjAf6Dc7w==",
};
const googleProtobuf = {
  name: "google-protobuf",
  version: "3.21.4",
  integrity: "sha512-MnG7N936zcKTco4Jd2PX2U96Kf9PxygAPKBug+74LHzmHXmceN16MmRcdgZv+DGef/S9YvQAfRsNCn4cjf9yyQ==",
};

/** tfjs-node's JavaScript and binding sources as published, with what they import. */
async function placeJavaScript(folder: string, progress: Progress): Promise<void> {
  const place = async (wanted: typeof tfjsNode, into: string, filter: (file: string) => boolean) => {
    const installed = await installedPackage(wanted);
    if (!installed) await downloadNpmPackage({ ...wanted, into, filter, progress });
    else await fs.cp(installed, into, { recursive: true, filter: (file) => filter(path.relative(installed, file)) });
  };
  await place(tfjsNode, path.join(folder, "tfjs-node"), (file) => /^($|package\.json$|dist\b|binding\b)/.test(file));
  await place(googleProtobuf, path.join(folder, "node_modules", "google-protobuf"), () => true);
  // tfjs-node imports both; @tensorflow/tfjs has all that tfjs-core has.
  for (const name of ["tfjs", "tfjs-core"]) {
    await writeFileAtomic(
      path.join(folder, "node_modules", "@tensorflow", name, "index.js"),
      `// The instance of TensorFlow.js of the program that loads this (lib/backend/native.ts of frozen-eval).\n` +
        `module.exports = globalThis[Symbol.for("frozen-eval.tfjs")];\n`,
    );
  }
}

async function installedPackage({ name, version }: { name: string; version: string }): Promise<string | undefined> {
  try {
    const manifest = createRequire(__filename).resolve(`${name}/package.json`);
    const found = JSON.parse(await fs.readFile(manifest, "utf8")) as { version: string };
    return found.version === version ? path.dirname(manifest) : undefined;
  } catch {
    return undefined;
  }
}

/** In a process of its own: a library that does not fit this machine may end the process that loads it. */
async function checkThatItLoads(folder: string): Promise<void> {
  const script = `process.stdout.write(String(require(${JSON.stringify(path.join(folder, bindingInFolder))}).TF_Version))`;
  let version: string;
  try {
    const env = { ...process.env, TF_CPP_MIN_LOG_LEVEL: "3" };
    ({ stdout: version } = await promisify(execFile)(process.execPath, ["-e", script], { env }));
  } catch (error) {
    const said = error instanceof Error && "stderr" in error ? String(error.stderr) : "";
    const why = said.split("\n").find((line) => /error/i.test(line)) ?? messageOf(error).split("\n")[0]!;
    throw new UserError(`Expected the compiled binding to load but it does not: ${why.trim()}`, {
      hint: "TensorFlow's wheels need glibc 2.27 or later and, on x86-64, a processor with AVX. WebAssembly works everywhere.",
      cause: error,
    });
  }
  if (version.startsWith(tensorflowVersion)) return;
  throw new UserError(`Expected a binding to TensorFlow ${tensorflowVersion} but received one to ${version}`);
}

async function writeReady(folder: string, wheels: string[], compiler: Compiler): Promise<void> {
  const files: ReadyRecord["files"] = {};
  for (const entry of await fs.readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    const name = path.relative(folder, file);
    // The many small files of JavaScript are covered by their package's version.
    if (!/^(tensorflow|nvidia)\b|\.node$|package\.json$|\b(tfjs|tfjs-core)\/index\.js$/.test(name)) continue;
    files[name] = { bytes: (await fs.stat(file)).size, sha256: await sha256OfFile(file) };
  }
  const ready: ReadyRecord = {
    recipe,
    tensorflow: tensorflowVersion,
    wheels: wheels.map((wheel) => path.basename(wheel)),
    compiler: compiler.version,
    files,
  };
  await writeJson(path.join(folder, "ready.json"), ready);
}

/** What killed runs left, and what was replaced. */
async function removeLeftOvers(folder: string): Promise<void> {
  const parent = path.dirname(folder);
  for (const name of await fs.readdir(parent).catch(() => [] as string[])) {
    if (name.startsWith(`${path.basename(folder)}.`) && name.endsWith(".partial")) {
      await fs.rm(path.join(parent, name), { recursive: true, force: true });
    }
  }
}
