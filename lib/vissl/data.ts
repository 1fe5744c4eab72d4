import path from "node:path";

import { z } from "zod";

import { splitNamed } from "../datasets/listing.js";
import { UserError } from "../errors.js";
import type { VisslKeys } from "./keys.js";

const names = z.array(z.string());

/**
 * The data of a configuration that names its places: folders `…/train` and `…/val` (`disk_folder`), or lists
 * (`disk_filelist`). Undefined where it names a data set of VISSL's catalogue, for that has its places elsewhere.
 *
 * @throws UserError where the places are there and cannot be read so.
 */
export function visslData(keys: VisslKeys): { data: string; reportOn: "val" | "test" } | undefined {
  const paths = keys.given("DATA.TRAIN.DATA_PATHS");
  if (!Array.isArray(paths) || paths.length === 0) return undefined;
  const train = placeOf(keys, "TRAIN");
  const test = placeOf(keys, "TEST");
  if (train.kind !== test.kind)
    throw keys.refusal("DATA.TEST.DATA_SOURCES", `${train.kind}, as TRAIN has it,`, instead);
  if (train.kind === "disk_filelist") {
    return { data: `list:train=${train.path},${train.labels},val=${test.path},${test.labels}`, reportOn: "val" };
  }
  const reportOn = splitNamed(path.basename(test.path));
  const sameFolder = path.dirname(train.path) === path.dirname(test.path);
  if (splitNamed(path.basename(train.path)) !== "train" || !reportOn || reportOn === "train" || !sameFolder) {
    throw new UserError(
      `Expected DIR/train and DIR/val (or DIR/test) for ${keys.subject("DATA.TRAIN.DATA_PATHS")} but received ` +
        `${train.path} and ${test.path}`,
      { hint: instead },
    );
  }
  return { data: `folder:${path.dirname(train.path)}`, reportOn };
}

const instead = "Give the data as --data FORMAT:PLACE; the configuration's own is then let be.";

function placeOf(keys: VisslKeys, split: "TRAIN" | "TEST"): { kind: string; path: string; labels: string } {
  const one = (name: string) => {
    const key = `DATA.${split}.${name}`;
    const values = keys.get(key, names, "a list of texts");
    if (values.length !== 1) throw keys.refusal(key, "one entry", instead);
    return values[0]!;
  };
  const kind = one("DATA_SOURCES");
  if (kind !== "disk_folder" && kind !== "disk_filelist") {
    throw keys.refusal(`DATA.${split}.DATA_SOURCES`, "disk_folder or disk_filelist", instead);
  }
  if (one("LABEL_SOURCES") !== kind)
    throw keys.refusal(`DATA.${split}.LABEL_SOURCES`, `${kind}, as the images,`, instead);
  return { kind, path: one("DATA_PATHS"), labels: kind === "disk_filelist" ? one("LABEL_PATHS") : "" };
}
