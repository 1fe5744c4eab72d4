import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import fc from "fast-check";

import { parseCsv } from "../../lib/csv.js";
import { openDataset } from "../../lib/datasets/open.js";
import { complaint, writeFiles } from "./files.js";

let root: string;
beforeEach(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "csv-"));
  await writeFiles(root, { "1.png": "", "2.png": "", "d/3, last.png": "", "4.png": "" });
});
afterEach(() => fs.rm(root, { recursive: true }));

const open = async (text: string, classes?: string[]) => {
  await writeFiles(root, { "photos.csv": text });
  return openDataset({ spec: `csv:${root}/photos.csv`, classes });
};

describe("a CSV", () => {
  test("with quotes, blank lines, other columns and Windows' line ends", async () => {
    const text = '\uFEFFsource,Label,path\r\nme,dog,1.png\r\n\r\nyou,"cat ""x""","d/3, last.png"\r\nme,dog,2.png';
    const { classes, splits, name, multiLabel } = await open(text);
    expect({ classes, name, multiLabel }).toEqual({ classes: ['cat "x"', "dog"], name: "photos", multiLabel: false });
    expect(splits.all!.ids).toEqual(["1.png", "d/3, last.png", "2.png"]);
    expect(splits.all!.targets).toEqual({ kind: "single", labels: Int32Array.of(1, 0, 1) });
    expect(splits.all!.source(1)).toEqual({ kind: "file", path: path.join(root, "d/3, last.png") });
  });

  test("with splits; numbers as labels are in their order", async () => {
    const { classes, splits } = await open("path,label,split\n1.png,10,train\n2.png,9,train\n4.png,9,validation\n");
    expect(classes).toEqual(["9", "10"]);
    expect(Object.keys(splits)).toEqual(["train", "val"]);
    expect(Array.from(splits.train!.targets.labels)).toEqual([1, 0]);
  });

  test("with several labels an image", async () => {
    const { classes, multiLabel, splits } = await open("path,label\n1.png,a|c\n2.png,b\n4.png,c | a\n");
    expect({ classes, multiLabel }).toEqual({ classes: ["a", "b", "c"], multiLabel: true });
    expect(splits.all!.targets).toEqual({ kind: "multi", labels: Int8Array.of(1, 0, 1, 0, 1, 0, 1, 0, 1), classes: 3 });
  });

  test("is parsed as it was written, whatever is in it", () => {
    const quoted = (field: string) => `"${field.replaceAll('"', '""')}"`;
    const field = fc.string({ unit: fc.constantFrom("a", ",", '"', "\n", "\r", " ", "ż"), maxLength: 6 });
    fc.assert(
      fc.property(fc.array(fc.array(field, { minLength: 2, maxLength: 4 })), (records) => {
        const text = records.map((fields) => `${fields.map(quoted).join(",")}\n`).join("");
        expect(Array.from(parseCsv(text, "x.csv"), ({ fields }) => fields)).toEqual(records);
      }),
    );
  });
});

describe("what is wrong with a CSV is told with its line", () => {
  test.each([
    ["path,class\n1.png,a\n", "Expected a column label in the header"],
    ["file,label\n1.png,a\n", "Expected a column path in the header"],
    ["", "but the file is empty"],
    ["path,label\n", "it holds a header only"],
    ["path,label\n1.png,a\n\n2.png\n", "Expected 2 fields in line 4"],
    ["path,label\n1.png,a\n2.png,\n", "Expected a label in line 3"],
    ["path,label\n1.png,a\n2.png,b|\n", "Expected a label in line 3"],
    ["path,label\n1.png,a\n,b\n", "Expected a path in line 3"],
    ['path,label\n1.png,"a\nb"\n9.png,c\n', "Expected the image of line 4"],
    ['path,label\n1.png,"a\n', "in line 2"],
    ['path,label\n1.png,"a"b\n', "its quotes do not close"],
    ["path,label,split\n1.png,a,train\n2.png,b,trian\n", "Expected train, val or test for the split in line 3"],
    ["path,label,split\n1.png,a,\n", "Expected train, val or test"],
    ["path,label\n1.png,a\n2.png,b\n1.png,b\n", "line 4 repeats 1.png of line 2"],
    ["path,label\n1.png,a\n2.png,a\n", "at least two classes"],
    ["path,label\n1.png,a\nd,b\n", "Expected the image of line 3"],
  ])("%j", async (text, message) => {
    expect(await complaint(open(text))).toContain(message);
  });

  test("a label that is none of the classes", async () => {
    expect(await complaint(open("path,label\n1.png,cat\n2.png,dgo\n", ["cat", "dog"]))).toMatch(
      /among the 2 classes in line 3 of .*photos.csv but received "dgo" Did you mean dog\?/,
    );
  });

  test("no such file", async () => {
    expect(await complaint(openDataset({ spec: `csv:${root}/none.csv` }))).toContain("there is no such file");
  });
});
