import fs from "node:fs/promises";
import path from "node:path";

import { didYouMean, UserError } from "../errors.js";
import { inside } from "../files.js";
import type { Progress } from "../progress.js";

import { downloadFile } from "./fetch-file.js";
import { getText } from "./http.js";

/** One file of a project, as the index lists it. */
export interface IndexedFile {
  filename: string;
  url: string;
  /** Where the index tells it. */
  sha256?: string;
}

/** The Python package index in use: `PIP_INDEX_URL`, else pypi.org. */
function packageIndex(): string {
  return (process.env.PIP_INDEX_URL || "https://pypi.org/simple").replace(/\/+$/, "");
}

/**
 * The files of a project, read from its page in the index (PEP 503), as pip does; no Python is needed.
 *
 * @throws UserError where the index has no such project or cannot be reached.
 */
export async function filesOf(project: string): Promise<IndexedFile[]> {
  const page = `${packageIndex()}/${normalised(project)}/`;
  const html = await getText({ url: page, label: `the Python package ${project}`, headers: { accept: "text/html" } });
  return [...html.matchAll(/<a\s[^>]*?href\s*=\s*["']([^"']+)["'][^>]*>/gi)].flatMap(([, href]) => {
    const url = new URL(href!.replaceAll("&amp;", "&"), page);
    const sha256 = /^#sha256=([0-9a-f]{64})$/i.exec(url.hash)?.[1]?.toLowerCase();
    url.hash = "";
    const filename = decodeURIComponent(path.posix.basename(url.pathname));
    // A mirror that wants a password wants it for its files too.
    const index = new URL(page);
    if (url.host === index.host) Object.assign(url, { username: index.username, password: index.password });
    return filename === "" ? [] : [{ filename, url: url.href, sha256 }];
  });
}

export interface WheelOptions {
  project: string;
  /** The file's whole name, e.g. `"foolbox-3.3.4-py3-none-any.whl"`. */
  filename: string;
  sha256: string;
  /** The folder that receives it. */
  into: string;
  progress?: Progress;
}

/**
 * Fetches one wheel from the index, with a digest that the caller knows.
 *
 * @returns the path of the wheel.
 * @throws UserError as {@link downloadFile}, and where the project has no such file.
 */
export async function downloadWheel({ project, filename, sha256, into, progress }: WheelOptions): Promise<string> {
  const file = inside(into, filename);
  const files = await filesOf(project);
  const found = files.find((candidate) => candidate.filename === filename);
  if (!found) {
    throw new UserError(
      `Expected ${filename} of the Python package ${project} in ${packageIndex()} but it is not there`,
      {
        hint: didYouMean(
          filename,
          files.map((candidate) => candidate.filename),
        ),
      },
    );
  }
  await fs.mkdir(into, { recursive: true });
  await downloadFile({ url: found.url, file, sha256, label: filename, progress });
  return file;
}

/** A project's name as the index writes it (PEP 503). */
function normalised(project: string): string {
  return project.toLowerCase().replace(/[-_.]+/g, "-");
}
