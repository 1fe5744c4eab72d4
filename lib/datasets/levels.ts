import path from "node:path";

import { parseCsv } from "../csv.js";
import { didYouMean, expected, show, UserError } from "../errors.js";
import { readText } from "../files.js";
import { conceptSplit, conceptStore, imagesOfConcept } from "./concepts.js";
import type { Dataset } from "./dataset.js";
import { checkClasses } from "./labels.js";
import { byCodePoint, datasetName } from "./listing.js";
import type { FormatOptions } from "./open.js";

/**
 * A level of one's own, so that other hierarchies than WordNet's can be asked the same question:
 * `IMAGES,FILE.csv,LEVEL`. Images are in a folder or a tar archive for each concept; the table `concept,level` tells
 * which of them are of the level. A concept's label is its place among those, sorted. There is one split, `all`.
 */
export async function openLevel({ spec, place, progress }: FormatOptions): Promise<Dataset> {
  const [images, file, level, ...more] = place.split(",");
  if (!images || !file || !level || more.length > 0) throw expected("levels:IMAGES,FILE.csv,LEVEL", "--data", spec);
  const concepts = [...conceptsOf(await readText(file, "a table of concepts"), { file, level })].sort(byCodePoint);
  checkClasses(concepts, `level ${level} of ${file}`);
  const store = await conceptStore({ root: path.resolve(images), concepts });
  const found: string[][] = [];
  for (const concept of concepts) found.push(await imagesOfConcept(store, concept));
  return {
    spec,
    name: datasetName(`${path.basename(file, path.extname(file))}_${level}`),
    classes: concepts,
    multiLabel: false,
    splits: { all: await conceptSplit({ store, format: "levels", name: "all", concepts, images: found, progress }) },
  };
}

function conceptsOf(text: string, { file, level }: { file: string; level: string }): Set<string> {
  const records = parseCsv(text, file);
  const header = records.next().value?.fields.map((field) => field.trim().toLowerCase()) ?? [];
  const [conceptColumn, levelColumn] = ["concept", "level"].map((name) => {
    const index = header.indexOf(name);
    if (index >= 0) return index;
    throw new UserError(`Expected a column ${name} in the header of ${file} but received ${show(header.join(","))}`, {
      hint: "The first line names the columns: concept,level.",
    });
  }) as [number, number];
  const concepts = new Set<string>();
  const levels = new Set<string>();
  const lines = new Map<string, number>();
  for (const { fields, line } of records) {
    const [concept, own] = [fields[conceptColumn]?.trim(), fields[levelColumn]?.trim()];
    if (!concept || !own) {
      throw new UserError(
        `Expected a concept and its level in line ${line} of ${file} but received ${fields.join(",")}`,
      );
    }
    const before = lines.get(concept);
    if (before !== undefined) {
      throw new UserError(
        `Expected each concept once in ${file} but line ${line} repeats ${concept} of line ${before}`,
      );
    }
    lines.set(concept, line);
    levels.add(own);
    if (own === level) concepts.add(concept);
  }
  if (concepts.size > 0) return concepts;
  throw new UserError(
    `Expected concepts of level ${level} in ${file} but its levels are ${[...levels].join(", ") || "none"}`,
    {
      hint: didYouMean(level, levels),
    },
  );
}
