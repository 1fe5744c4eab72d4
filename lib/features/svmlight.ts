import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

import type { SplitName, Targets } from "../datasets/dataset.js";
import { show, UserError } from "../errors.js";
import { asReadError } from "../files.js";
import { identityOf, numbered } from "./array-source.js";
import type { RowReader } from "./row-reader.js";
import { rowSource } from "./row-source.js";
import type { FeatureSource } from "./source.js";

/** A line: what stands in front of the features, and the features that are not 0. */
interface SvmlightRow {
  line: number;
  labels: number[];
  /** From 0, ascending. */
  columns: Int32Array;
  values: Float32Array;
}

interface SvmlightFile {
  file: string;
  rows: SvmlightRow[];
}

/** Rows become dense: one that is wider does not fit many times into memory. */
const mostColumns = 2 ** 20;

/**
 * Features as svmlight and LIBSVM write them: a line an image, `label index:value index:value …`, indices ascending
 * from 1, what is not named 0, and what follows a `#` a remark. The labels of a line are
 *
 * - −1, 0 or +1 in all files: one class, `1`, that is absent, ignored or present
 * - a number from 0 a line: one class an image
 * - none or several a line, `1,3`: several classes an image
 *
 * A class is called by its number; so files that belong together are opened together, and have the same classes.
 *
 * Source: T. Joachims, SVMlight; C.-C. Chang and C.-J. Lin, LIBSVM, "data format" and multi-label data.
 *
 * @returns sources of one layer, `features`, as wide as the largest index of all files.
 * @throws UserError where a line is not of this form; it is named by its number.
 */
export async function openSvmlight(options: {
  files: Partial<Record<SplitName, string>>;
  residentBytes?: number;
}): Promise<{ splits: Partial<Record<SplitName, FeatureSource>>; classes: string[] }> {
  const read: [SplitName, SvmlightFile][] = [];
  for (const [split, file] of Object.entries(options.files) as [SplitName, string][]) {
    read.push([split, await readSvmlight(file)]);
  }
  const files = read.map(([, file]) => file);
  const encode = labelEncoder(files);
  const width = Math.max(1, ...files.map(widthOf));
  const splits: Partial<Record<SplitName, FeatureSource>> = {};
  for (const [split, { file, rows }] of read) {
    splits[split] = await rowSource({
      layers: [{ layer: { name: "features", shape: [width], width }, reader: denseRows(rows, width) }],
      targets: encode.targets(rows),
      ids: numbered(rows.length),
      origin: { kind: "svmlight", ...(await identityOf(file)) },
      residentBytes: options.residentBytes,
    });
  }
  return { splits, classes: encode.classes };
}

async function readSvmlight(file: string): Promise<SvmlightFile> {
  const rows: SvmlightRow[] = [];
  let line = 0;
  try {
    for await (const text of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
      line++;
      const words = text.replace(/#.*/, "").trimEnd();
      if (words.trim() !== "") rows.push({ line, ...readLine(words, { file, line }) });
    }
  } catch (error) {
    throw asReadError(error, file, "a file of svmlight's");
  }
  if (rows.length === 0)
    throw new UserError(`Expected lines of labels and index:value pairs in ${file} but it has none`);
  return { file, rows };
}

interface Place {
  file: string;
  line: number;
}

function readLine(text: string, place: Place): Omit<SvmlightRow, "line"> {
  const words = text.split(/[ \t]+/);
  // A line that begins with a space, or with a feature, has no label.
  const first = words[0]!.includes(":") ? "" : words.shift()!;
  const labels = first === "" ? [] : first.split(",").map((label) => readLabel(label, place));
  const columns = new Int32Array(words.length);
  const values = new Float32Array(words.length);
  words.forEach((word, i) => {
    const at = word.indexOf(":");
    const index = Number(word.slice(0, at));
    const value = Number(word.slice(at + 1));
    if (at < 1 || !Number.isInteger(index) || !Number.isFinite(value) || word.length === at + 1) {
      throw wrong("index:value, two numbers,", place, word);
    }
    if (index < 1 || index > mostColumns) {
      throw wrong(`an index in 1 … ${mostColumns}`, place, word, index === 0 ? "Indices begin with 1." : undefined);
    }
    if (i > 0 && index <= columns[i - 1]! + 1) throw wrong("ascending indices", place, word);
    columns[i] = index - 1;
    values[i] = value;
  });
  return { labels, columns, values };
}

function readLabel(text: string, place: Place): number {
  const label = Number(text);
  if (text === "" || !Number.isInteger(label) || label < -1) {
    throw wrong("a class number from 0, or −1, 0 or +1, as label", place, text);
  }
  return label;
}

function wrong(what: string, { file, line }: Place, received: string, hint?: string): UserError {
  return new UserError(`Expected ${what} in line ${line} of ${file} but received ${show(received)}`, { hint });
}

/** What the labels of all files mean. */
function labelEncoder(files: SvmlightFile[]): { classes: string[]; targets(rows: SvmlightRow[]): Targets } {
  const rows = files.flatMap((file) => file.rows);
  const numbers = [...new Set(rows.flatMap(({ labels }) => labels))].sort((a, b) => a - b);
  const several = rows.some(({ labels }) => labels.length !== 1);
  if (numbers[0] === -1) {
    refuseSigns(files, several || numbers.some((label) => label > 1));
    return {
      classes: ["1"],
      // −1 is absent, 0 ignored: the other way round than here.
      targets: (some) => ({
        kind: "multi",
        labels: Int8Array.from(some, ({ labels: [label] }) => (label === 1 ? 1 : -1 - label!)),
        classes: 1,
      }),
    };
  }
  const classes = numbers.map(String);
  const position = new Map(numbers.map((label, index) => [label, index]));
  const indices = ({ labels }: SvmlightRow) => labels.map((label) => position.get(label)!);
  if (!several) {
    return {
      classes,
      targets: (some) => ({ kind: "single", labels: Int32Array.from(some, (row) => indices(row)[0]!) }),
    };
  }
  return {
    classes,
    targets: (some) => {
      const labels = new Int8Array(some.length * classes.length);
      some.forEach((row, i) => indices(row).forEach((index) => (labels[i * classes.length + index] = 1)));
      return { kind: "multi", labels, classes: classes.length };
    },
  };
}

/** Beside numbers of classes a −1 says nothing. */
function refuseSigns(files: SvmlightFile[], numbersToo: boolean): void {
  if (!numbersToo) return;
  for (const { file, rows } of files) {
    const row = rows.find(({ labels }) => labels.includes(-1));
    if (row)
      throw wrong("a class number from 0 as label", { file, line: row.line }, "-1", "−1 stands beside 0 and +1 only.");
  }
}

function widthOf({ rows }: SvmlightFile): number {
  return rows.reduce((width, { columns }) => Math.max(width, (columns.at(-1) ?? -1) + 1), 0);
}

function denseRows(rows: SvmlightRow[], width: number): RowReader {
  return {
    read: async (wanted) => {
      const into = new Float32Array(wanted.length * width);
      wanted.forEach((row, i) => {
        const { columns, values } = rows[row]!;
        columns.forEach((column, k) => (into[i * width + column] = values[k]!));
      });
      return into;
    },
  };
}
