import type { Dirent } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";

import { UserError, show } from "../errors.js";
import { asReadError } from "../files.js";
import type { Progress } from "../progress.js";
import type { Dataset, SplitName } from "./dataset.js";
import { checkClasses } from "./labels.js";
import { byCodePoint, datasetName, fileSplit, splitNamed, uniqueIds } from "./listing.js";
import type { FormatOptions } from "./open.js";

/** The file name endings that torchvision's `ImageFolder` takes for images, in any case. */
const imageExtensions = [".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"];

const layout =
  "Put each class in a folder of its own: DIR/cat/1.jpg, or DIR/train/cat/1.jpg with DIR/val and DIR/test.";

/**
 * A folder of class folders, or of `train/`, `val/`, `test/` with class folders in each. Classes and images are in
 * torchvision's order (`ImageFolder`), images in folders below a class folder included, links followed. Hidden files
 * and folders are left out.
 *
 * Folders named as splits are splits where one of them is `train` or all folders are such, and images lie in none of
 * them directly.
 */
export async function openFolder({ spec, place, classes, progress }: FormatOptions): Promise<Dataset> {
  const root = path.resolve(place);
  const folders = (await entriesOf(root)).folders;
  const splits = await splitFolders(root, folders);
  const found = new Map<SplitName, string[]>();
  for (const [name, folder] of splits) {
    found.set(name, (await entriesOf(path.join(root, folder))).folders.sort(byCodePoint));
  }
  const [first, ...others] = [...found.keys()];
  const names = found.get(first!)!;
  for (const other of others) checkSame({ first: first!, classes: names, other, others: found.get(other)! }, root);
  checkClasses(names, root, layout);
  if (classes && [...classes].sort(byCodePoint).join("\n") !== names.join("\n")) {
    throw new UserError(`Expected the classes ${show(classes)} for ${root} but received ${show(names)}`);
  }

  const dataset: Dataset = { spec, name: datasetName(root), classes: classes ?? names, multiLabel: false, splits: {} };
  for (const [name, folder] of splits) {
    dataset.splits[name] = await openSplit({ root, folder, name, classes: dataset.classes, progress });
  }
  return dataset;
}

/** Class folders that are read at a time, for the system's answers take longer than ours. */
const foldersAtOnce = 8;

async function openSplit(options: {
  root: string;
  folder: string;
  name: SplitName;
  classes: string[];
  progress?: Progress;
}) {
  const { root, folder, name, classes, progress } = options;
  const files: string[] = [];
  const counts: number[] = [];
  for (let begin = 0; begin < classes.length; begin += foldersAtOnce) {
    const some = classes.slice(begin, begin + foldersAtOnce);
    const found = await Promise.all(some.map((className) => imagesBelow(root, path.posix.join(folder, className))));
    for (const [i, images] of found.entries()) {
      if (images.length === 0) {
        throw new UserError(
          `Expected images in the class folder ${path.join(root, folder, some[i]!)} but there are none`,
          {
            hint: `Remove the folder, or put images there; they end in ${imageExtensions.join(", ")}.`,
          },
        );
      }
      for (const image of images) files.push(image);
      counts.push(images.length);
    }
  }
  const labels = new Int32Array(files.length);
  let at = 0;
  counts.forEach((count, label) => labels.fill(label, at, (at += count)));
  return fileSplit({
    format: "folder",
    name,
    root,
    files,
    ids: uniqueIds(files, root),
    targets: { kind: "single", labels },
    classes,
    progress,
  });
}

/** Split → its folder; `all` → the folder itself, where it has no splits. */
async function splitFolders(root: string, folders: string[]): Promise<Map<SplitName, string>> {
  const splits = new Map<SplitName, string>();
  for (const folder of folders) {
    const name = splitNamed(folder);
    if (!name) continue;
    const { files, folders: below } = await entriesOf(path.join(root, folder));
    if (below.length === 0 || files.some(isImage)) continue;
    const twin = splits.get(name);
    if (twin) throw new UserError(`Expected one ${name} folder in ${root} but received ${twin} and ${folder}`);
    splits.set(name, folder);
  }
  if (splits.has("train") || (splits.size > 0 && splits.size === folders.length)) {
    const order: SplitName[] = ["train", "val", "test"];
    return new Map(order.flatMap((name) => (splits.has(name) ? [[name, splits.get(name)!]] : [])));
  }
  return new Map([["all", ""]]);
}

function checkSame(options: { first: string; classes: string[]; other: string; others: string[] }, root: string): void {
  const { first, classes, other, others } = options;
  const missing = classes.filter((name) => !others.includes(name));
  const extra = others.filter((name) => !classes.includes(name));
  if (missing.length === 0 && extra.length === 0) return;
  const told = [
    ...(missing.length > 0 ? [`${other} lacks ${show(missing)}`] : []),
    ...(extra.length > 0 ? [`${first} lacks ${show(extra)}`] : []),
  ];
  throw new UserError(`Expected the same class folders in ${first} and ${other} of ${root} but ${told.join(", ")}`);
}

/**
 * Images below a class folder, named from `root`, in the order of `sorted(os.walk(...))`: folder by folder in the order
 * of their paths, and by name within each.
 */
export async function imagesBelow(root: string, folder: string): Promise<string[]> {
  const found: { folder: string; images: string[] }[] = [];
  const walk = async (below: string, above: string[]): Promise<void> => {
    const real = await fs.realpath(path.join(root, below)).catch((error: unknown) => {
      throw asReadError(error, path.join(root, below), "a folder of images");
    });
    if (above.includes(real)) return;
    const { files, folders } = await entriesOf(path.join(root, below));
    found.push({ folder: below, images: files.filter(isImage).sort(byCodePoint) });
    for (const name of folders) await walk(`${below}/${name}`, [...above, real]);
  };
  await walk(folder, []);
  return found
    .sort((a, b) => byCodePoint(a.folder, b.folder))
    .flatMap(({ folder: below, images }) => images.map((image) => flat(`${below}/${image}`)));
}

/**
 * A joined text in one piece. V8 keeps the parts of a joined one until somebody reads it, and with it what it once had;
 * of ten million names that is half a gigabyte.
 */
function flat(text: string): string {
  text.charCodeAt(0);
  return text;
}

/** Whether a file is an image by its name's ending. */
export function isImage(name: string): boolean {
  return imageExtensions.includes(path.extname(name).toLowerCase());
}

async function entriesOf(folder: string): Promise<{ files: string[]; folders: string[] }> {
  let entries: Dirent[];
  try {
    entries = await fs.readdir(folder, { withFileTypes: true });
  } catch (error) {
    throw asReadError(error, folder, "a folder of images");
  }
  const files: string[] = [];
  const folders: string[] = [];
  for (const entry of entries) {
    if (entry.name.startsWith(".")) continue;
    const isFolder = entry.isSymbolicLink()
      ? await fs.stat(path.join(folder, entry.name)).then(
          (stat) => stat.isDirectory(),
          () => false,
        )
      : entry.isDirectory();
    if (isFolder) folders.push(entry.name);
    // Pipes and devices would be waited for; a link that leads nowhere is a bad image.
    else if (entry.isFile() || entry.isSymbolicLink()) files.push(entry.name);
  }
  return { files, folders };
}
