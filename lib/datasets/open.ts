import path from "node:path";

import { UserError, didYouMean } from "../errors.js";
import type { Progress } from "../progress.js";
import { openCaltech101 } from "./caltech101.js";
import { openCifar10, openCifar100 } from "./cifar.js";
import { openCsv } from "./csv.js";
import type { Dataset } from "./dataset.js";
import { openEmoji } from "./emoji.js";
import { openFolder } from "./folder.js";
import { openInaturalist } from "./inaturalist.js";
import { openList } from "./list.js";
import { openMnist } from "./mnist.js";
import { openParquet } from "./parquet.js";
import { openPlaces205, openPlaces365 } from "./places.js";
import { openVoc07 } from "./voc07.js";
import { openWebdataset } from "./webdataset.js";
import { openYfcc } from "./yfcc.js";

/** What one format's file needs to open a data set. */
export interface FormatOptions {
  /** As the user wrote it, format included. */
  spec: string;
  /** The specification without its format: a path, or what the format makes of it. */
  place: string;
  /**
   * Class names in the order of their index, where the user knows better than the data; a label that is not among
   * them is an error.
   */
  classes?: string[];
  progress?: Progress;
}

interface Format {
  /** How it is written, for messages and documentation. */
  usage: string;
  open(options: FormatOptions): Promise<Dataset>;
}

/** All formats. A new one is one file with an `open…` function, and a line here. */
const formats: Record<string, Format> = {
  folder: { usage: "folder:DIR", open: openFolder },
  csv: { usage: "csv:FILE", open: openCsv },
  list: { usage: "list:IMAGES,LABELS or list:train=IMAGES,LABELS,val=IMAGES,LABELS", open: openList },
  mnist: { usage: "mnist:DIR", open: openMnist },
  cifar10: { usage: "cifar10:DIR", open: openCifar10 },
  emoji: { usage: "emoji:google or emoji:twitter, with /subcategory for 98 classes", open: openEmoji },
  cifar100: { usage: "cifar100:DIR", open: openCifar100 },
  caltech101: { usage: "caltech101:DIR, with ,no-background for 101 classes", open: openCaltech101 },
  inaturalist: { usage: "inaturalist:DIR", open: openInaturalist },
  places205: { usage: "places205:DIR", open: openPlaces205 },
  places365: { usage: "places365:DIR", open: openPlaces365 },
  voc07: { usage: "voc07:DIR", open: openVoc07 },
  webdataset: { usage: "webdataset:SHARDS or webdataset:train=SHARDS,val=SHARDS", open: openWebdataset },
  yfcc: { usage: "yfcc:DIR, with ,0..999999 for some of the numbers", open: openYfcc },
  parquet: { usage: "parquet:FILES or parquet:train=FILES,val=FILES", open: openParquet },
};

/**
 * Opens a labelled set of images.
 *
 * @param options.spec `format:place`, e.g. `folder:photos`; the formats are those of {@link formats}, and
 * docs/file-formats.md describes each.
 * @param options.classes see {@link FormatOptions.classes}.
 * @throws UserError where the format is unknown, or what stands at the place is not as the format wants it.
 */
export async function openDataset(options: {
  spec: string;
  classes?: string[];
  progress?: Progress;
}): Promise<Dataset> {
  const { spec, classes, progress } = options;
  const colon = spec.indexOf(":");
  const name = spec.slice(0, Math.max(colon, 0));
  const format = Object.hasOwn(formats, name) ? formats[name] : undefined;
  if (!format) {
    throw new UserError(`Expected format:place for the data set but received ${JSON.stringify(spec)}`, {
      hint:
        colon < 0 && path.basename(spec) !== ""
          ? `For a folder of class folders write folder:${spec}; other formats are ${usages()}.`
          : `${didYouMean(name, Object.keys(formats))} The formats are ${usages()}.`,
    });
  }
  const place = spec.slice(colon + 1);
  if (place === "") {
    throw new UserError(`Expected a place after ${name}: but received nothing`, { hint: `Write ${format.usage}.` });
  }
  return format.open({ spec, place, classes, progress });
}

function usages(): string {
  return Object.values(formats)
    .map(({ usage }) => usage)
    .join("; ");
}
