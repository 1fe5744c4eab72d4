import path from "node:path";

import { parseCsv } from "../csv.js";
import { UserError, didYouMean, show } from "../errors.js";
import { readText } from "../files.js";
import type { Dataset, SplitName } from "./dataset.js";
import { checkClasses, checkTargets, classesOf, encodeLabels, separator } from "./labels.js";
import { datasetName, fileSplit, splitNamed, uniqueIds } from "./listing.js";
import type { FormatOptions } from "./open.js";

interface Rows {
  paths: string[];
  labels: string[];
  lines: number[];
}

/**
 * A table `path,label[,split]` with a header; other columns are ignored. Paths are relative to the table's folder. A
 * label `a|b` means that the image has both; then the whole set is multi-label. Splits are train, val and test; without
 * the column there is one split, `all`.
 */
export async function openCsv({ spec, place, classes, progress }: FormatOptions): Promise<Dataset> {
  const splits = readTable(await readText(place, "a CSV of images"), place);
  const labels = [...splits.values()].flatMap((rows) => rows.labels);
  const multiLabel = labels.some((label) => label.includes(separator));
  const names = classes ?? classesOf(labels);
  checkClasses(names, place);

  const root = path.dirname(path.resolve(place));
  const dataset: Dataset = {
    spec,
    name: datasetName(path.basename(place, path.extname(place))),
    classes: names,
    multiLabel,
    splits: {},
  };
  for (const [name, rows] of splits) {
    const where = (index: number) => `line ${rows.lines[index]!} of ${place}`;
    const targets = encodeLabels({ labels: rows.labels, classes: names, multiLabel, where });
    checkTargets({ targets, classes: names, where });
    dataset.splits[name] = await fileSplit({
      format: "csv",
      name,
      root,
      files: rows.paths,
      ids: uniqueIds(rows.paths, place),
      targets,
      classes: names,
      missing: (index) =>
        new UserError(
          `Expected the image of ${where(index)} but there is no file ${path.resolve(root, rows.paths[index]!)}`,
          {
            hint: "Paths are relative to the folder of the CSV.",
          },
        ),
      progress,
    });
  }
  return dataset;
}

function readTable(text: string, file: string): Map<SplitName, Rows> {
  const records = parseCsv(text, file);
  const first = records.next();
  if (first.done) throw new UserError(`Expected a header path,label[,split] for ${file} but the file is empty`);
  const header = first.value.fields.map((field) => field.trim().toLowerCase());
  const column = (name: string) => {
    const index = header.indexOf(name);
    if (index >= 0) return index;
    throw new UserError(`Expected a column ${name} in the header of ${file} but received ${header.join(",")}`, {
      hint: `The first line names the columns: path,label[,split]. ${didYouMean(name, header)}`,
    });
  };
  const [pathColumn, labelColumn, splitColumn] = [column("path"), column("label"), header.indexOf("split")];

  const splits = new Map<SplitName, Rows>();
  const linesOfPaths = new Map<string, number>();
  for (const { fields, line } of records) {
    if (fields.length !== header.length) {
      throw new UserError(`Expected ${header.length} fields in line ${line} of ${file} but received ${fields.length}`, {
        hint: 'A field with a comma in it stands in quotes: "a,b".',
      });
    }
    const [image, label] = [fields[pathColumn]!.trim(), fields[labelColumn]!.trim()];
    if (image === "") throw new UserError(`Expected a path in line ${line} of ${file} but received nothing`);
    if (label === "") throw new UserError(`Expected a label in line ${line} of ${file} but received nothing`);
    const word = splitColumn < 0 ? undefined : fields[splitColumn]!.trim();
    const split = word === undefined ? "all" : splitNamed(word);
    if (!split) {
      throw new UserError(
        `Expected train, val or test for the split in line ${line} of ${file} but received ${show(word)}`,
      );
    }
    const before = linesOfPaths.get(`${split}/${image}`);
    if (before !== undefined) {
      throw new UserError(`Expected each image once in ${file} but line ${line} repeats ${image} of line ${before}`, {
        hint: "Several labels of one image stand in one line: a|b.",
      });
    }
    linesOfPaths.set(`${split}/${image}`, line);
    const rows = splits.get(split) ?? { paths: [], labels: [], lines: [] };
    splits.set(split, rows);
    rows.paths.push(image);
    rows.labels.push(label);
    rows.lines.push(line);
  }
  if (splits.size === 0) throw new UserError(`Expected images in ${file} but it holds a header only`);
  return splits;
}
