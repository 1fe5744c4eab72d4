import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

import { extract } from "tar";

import { messageOf, UserError } from "../errors.js";
import { asWriteError, errorCode, exists, temporaryName } from "../files.js";
import type { Progress } from "../progress.js";

import { cacheFolder } from "./cache.js";
import { downloadFile } from "./fetch-file.js";

export interface NpmPackageOptions {
  name: string;
  version: string;
  /** `sha512-…` of the tarball, as a lock file writes it. */
  integrity: string;
  /** The folder that stands for the extracted package; made whole or not at all, and kept if it is there. */
  into: string;
  /** Which files are wanted, by their path in the package, e.g. `"img/google/64/1f600.png"`. All where left out. */
  filter?: (file: string) => boolean;
  progress?: Progress;
}

/**
 * Fetches a package from the npm registry in use and extracts files of it, without installing it and without running
 * anything of it.
 *
 * @returns `into`.
 * @throws UserError where the registry lacks it or cannot be reached, or the tarball is not the one expected.
 */
export async function downloadNpmPackage(options: NpmPackageOptions): Promise<string> {
  const { name, version, integrity, filter, progress } = options;
  const into = path.resolve(options.into);
  if (await exists(into)) return into;
  const base = `${name.split("/").at(-1)}-${version}.tgz`;
  const file = path.join(cacheFolder(), "downloads", `${name.replace("/", "+")}-${version}.tgz`);
  const url = `${await npmRegistry()}/${name}/-/${base}`;
  await downloadFile({ url, file, integrity, label: `${name} ${version}`, progress });

  const temporary = temporaryName(into);
  try {
    await fs.mkdir(temporary, { recursive: true });
    await extract({
      file,
      cwd: temporary,
      strip: 1,
      strict: true,
      filter: (entry, kind) => {
        const inPackage = entry.split("/").slice(1).join("/");
        // Only plain files: a link could lead out of the folder.
        return "type" in kind && kind.type === "File" && (filter?.(inPackage) ?? true);
      },
    });
    await fs.rename(temporary, into);
  } catch (error) {
    // Another process was first, with the same content, and may have removed the tarball already.
    if (["ENOTEMPTY", "EEXIST", "ENOENT"].includes(errorCode(error) ?? "") && (await exists(into))) return into;
    if (errorCode(error)?.startsWith("TAR_") || errorCode(error)?.startsWith("Z_")) {
      throw new UserError(`Expected an npm package at ${file} but it is damaged (${messageOf(error)})`, {
        cause: error,
      });
    }
    throw asWriteError(error, into);
  } finally {
    await fs.rm(temporary, { recursive: true, force: true });
  }
  await fs.rm(file, { force: true });
  return into;
}

/** The registry that npm uses here: `npm_config_registry`, else what npm is configured to, else npmjs.org. */
export async function npmRegistry(): Promise<string> {
  const told = process.env.npm_config_registry ?? process.env.NPM_CONFIG_REGISTRY;
  const configured =
    told ??
    (await promisify(execFile)("npm", ["config", "get", "registry"], { shell: process.platform === "win32" }).then(
      ({ stdout }) => stdout.trim(),
      () => "",
    ));
  return (/^https?:\/\//.test(configured) ? configured : "https://registry.npmjs.org").replace(/\/+$/, "");
}
