import fs from "node:fs/promises";
import path from "node:path";

import { zipArchive } from "../../__tests__/checkpoints/zip-archive.js";
import { extractEntries } from "../../lib/downloads/archive.js";
import { UserError } from "../../lib/errors.js";
import { filesOf } from "../../__tests__/features/synthetic.js";
import { writeSmallImages } from "../../__tests__/small-images.js";
import type { Ended, Outcome, Work } from "./work.js";

/** A name of an image, and what the extraction of a folder that holds it comes to: done, or a sentence. */
const names: Record<string, { name: string | Buffer; said?: RegExp }> = {
  quotes: { name: `red/it's "quoted" \`x\` $HOME.png` },
  backslash: { name: "red/back\\slash.png" },
  "other scripts": { name: "red/ü 漢字 😀.png" },
  "leading dash": { name: "red/--help.png" },
  "new line": { name: "red/two\nlines.png", said: /without line breaks .*"red\/two\\nlines\.png"/ },
  "no UTF-8": { name: Buffer.from("red/caf\xe9.png", "latin1"), said: /bytes that are no UTF-8: rename it/ },
  "3,900 characters": { name: `red/${`${"d".repeat(200)}/`.repeat(19)}1.png` },
  "255 bytes in one part": { name: `red/${"n".repeat(251)}.png` },
};

/** Unusual file names: images are extracted under them, or one sentence says why not. */
export async function fileNames(work: Work): Promise<Outcome> {
  const failed: string[] = [];
  // Long paths need a short beginning.
  const sound = path.join(work.folder, "sound");
  await writeSmallImages({ folder: sound, count: 1, classes: ["red", "blue"] });
  for (const [kind, { name, said }] of Object.entries(names)) {
    const folder = path.join(work.folder, "named");
    await fs.cp(sound, folder, { recursive: true });
    const file = Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name as string)]);
    await fs.mkdir(file.subarray(0, file.lastIndexOf("/")), { recursive: true });
    await fs.copyFile(path.join(sound, "red", "000.png"), file);
    const ended = await work.run(extraction("folder:named"));
    if (said ? !told(ended, said) : ended.status !== 0) failed.push(`${kind}: ${ended.stderr.slice(-400)}`);
    await fs.rm(folder, { recursive: true });
    await fs.rm(path.join(work.folder, "names"), { recursive: true, force: true });
  }
  return { tried: Object.keys(names).length, failed, seen: Object.keys(names).join(", ") };
}

/** Links that lead to themselves, to a folder above, nowhere; and a pipe, for which one would wait. */
export async function links(work: Work): Promise<Outcome> {
  const folder = path.join(work.folder, "linked");
  await writeSmallImages({ folder, count: 1, classes: ["red", "blue"] });
  await fs.symlink("itself.png", path.join(folder, "red", "itself.png"));
  await fs.symlink("..", path.join(folder, "red", "above"));
  await fs.symlink("absent.png", path.join(folder, "red", "nowhere.png"));
  const ended = await work.run(extraction("folder:linked"));
  const failed = [/itself\.png but symbolic links lead in a circle/, /nowhere\.png but there is no such file/].filter((said) => !told(ended, said)); // prettier-ignore
  const skipped = await work.run([...extraction("folder:linked"), "--on-bad-image", "skip"]);
  if (skipped.status !== 0) failed.push(/skip/);
  return { tried: 3, failed: failed.map((said) => `${said}: ${ended.stderr.slice(-400)}`), seen: "to itself and nowhere: named as bad images; to a folder above: followed once" }; // prettier-ignore
}

/** Entries of archives whose names climb out. Of tar shards and zip files of images nothing is ever unpacked. */
export async function climbingEntries(work: Work): Promise<Outcome> {
  const failed: string[] = [];
  const outside = ["../out.txt", "/tmp/frozen-eval-out.txt", "a/../../out.txt", "..\\out.txt"];
  const before = await filesOf(work.folder);
  for (const name of outside) {
    const archive = path.join(work.folder, "climbing", "a.zip");
    await fs.mkdir(path.dirname(archive), { recursive: true });
    await fs.writeFile(archive, zipArchive([{ name, content: Buffer.from("out") }]));
    const into = path.join(path.dirname(archive), "into");
    await fs.mkdir(into);
    const error: unknown = await extractEntries({ archive, into, select: (entry) => entry }).catch(
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof UserError)) failed.push(`${name}: ${String(error)}`);
    await fs.rm(path.dirname(archive), { recursive: true });
  }
  if (JSON.stringify(await filesOf(work.folder)) !== JSON.stringify(before))
    failed.push("something was written outside");
  return { tried: outside.length, failed, seen: `${outside.join(", ")}: refused, nothing written` };
}

function extraction(data: string): string[] {
  return ["extract-features", "--backbone", "models/small/convnet", "--data", data, "--layers", "features", "--device", "wasm", "--workers", "1", "--features-root", "names"]; // prettier-ignore
}

function told({ status, stderr }: Ended, said: RegExp): boolean {
  return status === 2 && stderr.includes("error: Expected") && said.test(stderr) && !stderr.includes("defect");
}
