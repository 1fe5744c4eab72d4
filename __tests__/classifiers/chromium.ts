import { existsSync } from "node:fs";
import path from "node:path";

import { startProcess } from "../command-line.js";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** The browser: `CHROMIUM`, or the first of the usual names; undefined where there is none. */
export const chromium = findChromium();

/** Why tests in a browser are skipped here; undefined where they are not. */
export const noChromium = chromium === undefined ? "no chromium found; name one with CHROMIUM" : undefined;

function findChromium(): string | undefined {
  const named = process.env.CHROMIUM;
  if (named !== undefined) return existsSync(named) ? named : undefined;
  const folders = (process.env.PATH ?? "").split(path.delimiter);
  return names.flatMap((name) => folders.map((folder) => path.join(folder, name))).find((file) => existsSync(file));
}

/**
 * Opens a page in a headless browser, and waits until its scripts have come to rest.
 *
 * @param options.profile folder of the browser's own files.
 * @returns the page's document as HTML.
 */
export async function openPage({ url, profile }: { url: string; profile: string }): Promise<string> {
  const flags = [
    "--headless",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--enable-unsafe-swiftshader",
    "--use-angle=swiftshader",
    `--user-data-dir=${profile}`,
    // Pages that wait for WebGL ask again and again, and their time passes fast: on a busy machine a minute is over too soon.
    "--virtual-time-budget=1200000",
    "--dump-dom",
  ];
  const { child, ended } = startProcess([chromium!, ...flags, url], profile);
  const late = setTimeout(() => child.kill("SIGKILL"), 180_000);
  try {
    const { status, stdout, stderr } = await ended;
    if (status !== 0) throw new Error(`the browser ended with ${status}: ${stderr.slice(-2000)}`);
    return stdout;
  } finally {
    clearTimeout(late);
  }
}
