import path from "node:path";

import { z } from "zod";

import { UserError, didYouMean, show } from "../errors.js";
import { silent, type Progress } from "../progress.js";
import type { Dataset, SplitName } from "./dataset.js";
import { classesOfValues, encodeValues, type LabelValue } from "./label-values.js";
import { checkClasses } from "./labels.js";
import { datasetName } from "./listing.js";
import type { FormatOptions } from "./open.js";
import { imageReader, openTable, readColumn, type ParquetTable } from "./parquet-table.js";
import { findShards, shardedSplit } from "./shards.js";

/**
 * Images in Parquet files as data hubs serve them (`train-00000-of-00002-….parquet`): a column of images, each a struct
 * `{bytes, path}` or bytes, and one of class indices, class names, or lists of either. The columns are those that the
 * file's metadata calls `Image` and `ClassLabel`; else `image` or `img`, and `label`; or as named behind the place:
 * `parquet:DIR,image=photo,label=fine_label`. Class names come from the metadata. A split whose labels are all −1, as
 * hubs mark what has none, is left out.
 *
 * Opening reads the labels; images are read when they are asked for.
 */
export async function openParquet({ spec, place, classes, progress = silent }: FormatOptions): Promise<Dataset> {
  const { splits, options } = await findShards({ spec, place, extension: ".parquet", keys: ["image", "label"] });
  const tables = new Map<SplitName, ParquetTable[]>();
  for (const [name, shards] of splits) {
    const opened: ParquetTable[] = [];
    for (const shard of shards) opened.push(await openTable(shard));
    tables.set(name, opened);
  }
  const all = [...tables.values()].flat();
  const features = all.map(featuresOf);
  const image = chooseColumn({
    table: all[0]!,
    type: "Image",
    names: ["image", "img"],
    wanted: options.image,
    features: features[0]!,
  });
  const label = chooseColumn({
    table: all[0]!,
    type: "ClassLabel",
    names: ["label"],
    wanted: options.label,
    features: features[0]!,
  });
  for (const table of all) for (const column of [image, label]) checkColumn(table, column);

  const labels = new Map<SplitName, LabelValue[]>();
  for (const [name, some] of tables) {
    const values = await readLabels(some, label, name, progress);
    if (values.some((value) => value !== -1)) labels.set(name, values);
    else progress.note(`The split ${name} of ${spec} has no labels and is left out.`);
  }
  const written = [...labels.values()].flat();
  if (written.length === 0) throw new UserError(`Expected images with labels for ${spec} but there are none`);

  const names = classes ?? classNames(all, features, label) ?? classesOfValues(written, spec);
  checkClasses(names, spec);
  const multiLabel = written.some((value) => Array.isArray(value));
  const name = datasetName(path.dirname(all[0]!.file));
  const dataset: Dataset = { spec, name, classes: names, multiLabel, splits: {} };
  const read = imageReader(image);
  for (const [split, values] of labels) {
    const shards = tables.get(split)!;
    const rows = shards.flatMap((table) => Array.from({ length: table.rows }, (_, row) => ({ table, row })));
    dataset.splits[split] = shardedSplit({
      format: `parquet ${image} ${label}`,
      name: split,
      ids: rows.map(({ table, row }) => `${path.basename(table.file, path.extname(table.file))}/${row}`),
      targets: encodeValues({
        values,
        classes: names,
        multiLabel,
        where: (index) => `row ${rows[index]!.row} of ${rows[index]!.table.file}`,
      }),
      classes: names,
      shards,
      source: (index) => read(rows[index]!.table, rows[index]!.row),
    });
  }
  return dataset;
}

/** The description of the columns that data hubs keep in the file's metadata. */
const description = z.object({
  info: z.object({
    features: z.record(
      z.string(),
      z.object({ _type: z.string().optional(), names: z.array(z.string()).optional() }).catch({}),
    ),
  }),
});

type Features = z.infer<typeof description>["info"]["features"];

function featuresOf({ metadata }: ParquetTable): Features {
  const text = metadata.key_value_metadata?.find(({ key }) => key === "huggingface")?.value;
  if (text === undefined) return {};
  try {
    return description.parse(JSON.parse(text)).info.features;
  } catch {
    // Other programs may use the same key.
    return {};
  }
}

function chooseColumn(options: {
  table: ParquetTable;
  features: Features;
  type: "Image" | "ClassLabel";
  names: string[];
  wanted?: string;
}): string {
  const { table, features, type, names, wanted } = options;
  if (wanted !== undefined) return wanted;
  const plain = names.find((name) => table.columns.includes(name));
  const described = table.columns.filter((name) => features[name]?._type === type);
  if (plain !== undefined && (described.length === 0 || described.includes(plain))) return plain;
  if (described.length === 1) return described[0]!;
  const what = type === "Image" ? "image" : "label";
  throw new UserError(
    `Expected one column of ${what}s in ${table.file} but received ` +
      (described.length > 1 ? `several: ${described.join(", ")}` : `the columns ${table.columns.join(", ")}`),
    { hint: `Name it behind the place: parquet:DIR,${what}=${described[0] ?? "COLUMN"}.` },
  );
}

function checkColumn({ columns, file }: ParquetTable, column: string): void {
  if (columns.includes(column)) return;
  throw new UserError(`Expected a column ${column} in ${file} but there is none`, {
    hint: didYouMean(column, columns),
  });
}

async function readLabels(
  tables: ParquetTable[],
  column: string,
  split: SplitName,
  progress: Progress,
): Promise<LabelValue[]> {
  const task = progress.task({ label: `listing ${split}`, total: tables.length, unit: "files" });
  try {
    const labels: LabelValue[] = [];
    for (const table of tables) {
      const values = await readColumn({ table, column });
      values.forEach((value, row) => labels.push(labelOf(value, `row ${row} of ${table.file}`)));
      task.advance(1);
    }
    return labels;
  } finally {
    task.end();
  }
}

function labelOf(value: unknown, where: string): LabelValue {
  if (Array.isArray(value)) return value.map((one: unknown) => oneLabelOf(one, where));
  return oneLabelOf(value, where);
}

function oneLabelOf(value: unknown, where: string): number | string {
  if (typeof value === "bigint" || typeof value === "boolean") return Number(value);
  if (typeof value === "number" && Number.isInteger(value)) return value;
  if (typeof value === "string" && value.trim() !== "") return value.trim();
  throw new UserError(`Expected a class index or a class name in ${where} but received ${show(value ?? null)}`);
}

/** The names of the metadata; all files have to agree. */
function classNames(tables: ParquetTable[], features: Features[], column: string): string[] | undefined {
  const first = features[0]?.[column]?.names;
  for (const [i, { file }] of tables.entries()) {
    const names = features[i]?.[column]?.names;
    if (names?.join("\n") !== first?.join("\n")) {
      throw new UserError(`Expected the same classes in ${tables[0]!.file} and ${file} but they differ`);
    }
  }
  return first;
}
