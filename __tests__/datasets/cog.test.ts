import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { cogCounts, openCogLevel, openIn1k } from "../../lib/datasets/cog.js";
import type { DatasetSplit } from "../../lib/datasets/dataset.js";
import { openDataset } from "../../lib/datasets/open.js";
import { golden, goldenPath } from "../golden.js";
import { complaint, writeFiles } from "./files.js";
import { archive } from "./tar-archive.js";

interface Expected {
  levels: string[][];
  dataset_order: Record<string, { files: string[]; labels: number[] }>;
}
const wanted = golden<Expected>("cog/pickles/expected.json");
/** Of the miniature. */
const counts = { concepts: 6, train: { least: 5, most: 8 }, test: { least: 3, most: 3 } };

let root: string;
beforeEach(async () => {
  root = await fs.mkdtemp(path.join(os.tmpdir(), "cog-"));
});
afterEach(() => fs.rm(root, { recursive: true }));

const pickles = goldenPath("cog/pickles/protocol4_numpy2");
const options = (place: string) => ({ spec: `cog_l1:${place}`, place });
const folders = (level: number) =>
  Promise.all(wanted.levels[level - 1]!.map((concept) => fs.mkdir(path.join(root, concept), { recursive: true })));

const listed = ({ ids, targets }: DatasetSplit) => ({ files: ids, labels: Array.from(targets.labels) });

/** The samples of the miniature. */
function samplesOf(level: number, part: string) {
  const { files, labels } = wanted.dataset_order[`cog_l${level}/${part}`]!;
  return { files, labels };
}

describe("a level of CoG", () => {
  test.each(
    [2, 3, 4].flatMap((protocol) => ["numpy1", "numpy2", "object"].map((kind) => `protocol${protocol}_${kind}`)),
  )("is in CoG's order, out of pickles as %s", async (name) => {
    await folders(1);
    const place = path.join(root, "pickles");
    await fs.cp(pickles, place, { recursive: true });
    await fs.cp(goldenPath(`cog/pickles/${name}`), place, { recursive: true });
    const { splits, classes, name: own } = await openCogLevel(options(`${root},${place}`), 1, counts);
    expect(own).toBe("cog_l1");
    expect(classes).toEqual([...wanted.levels[0]!].sort());
    expect(listed(splits.train!)).toEqual(samplesOf(1, "train"));
    expect(listed(splits.test!)).toEqual(samplesOf(1, "test"));
  });

  test("is the one that is asked for", async () => {
    await folders(5);
    const { splits } = await openCogLevel(options(`${root},${pickles}`), 5, counts);
    expect(listed(splits.train!)).toEqual(samplesOf(5, "train"));
    expect(await splits.train!.source(3)).toEqual({ kind: "file", path: path.join(root, splits.train!.ids[3]!) });
  });

  test("is read out of one archive a concept", async () => {
    for (const concept of wanted.levels[0]!) {
      const images = [...samplesOf(1, "train").files, ...samplesOf(1, "test").files].filter((file) => file.startsWith(concept)); // prettier-ignore
      const files = Object.fromEntries(images.slice(1).map((file) => [path.basename(file), `bytes of ${file}`]));
      await writeFiles(root, { [`${concept}.tar`]: archive(files) });
    }
    const { splits } = await openCogLevel(options(`${root},${pickles}`), 1, counts);
    expect(listed(splits.train!)).toEqual(samplesOf(1, "train"));
    const source = await splits.train!.source(1);
    if (source.kind !== "range") throw new Error(source.kind);
    const bytes = await fs.readFile(source.path);
    expect(bytes.toString("utf8", source.offset, source.offset + source.length)).toBe(
      `bytes of ${splits.train!.ids[1]}`,
    );
    expect((await splits.train!.source(0)).kind).toBe("file");
  });

  test("is refused in a sentence where something is wrong", async () => {
    const open = (level = 1, own = counts, place = `${root},${pickles}`) =>
      complaint(openCogLevel(options(place), level, own));
    expect(await open()).toMatch(/^Expected a folder n\d+, or an archive n\d+\.tar, in .* but there is none/);
    await folders(1);
    expect(await open(6)).toMatch(
      /^Expected a list for level 6 for .*cog_levels_mapping_file\.pkl but received "5 lists"/,
    );
    expect(await open(1, { ...cogCounts, concepts: 1000 })).toMatch(
      /^Expected 1000 concepts, each once, for level 1 in/,
    );
    expect(await open(1, { ...counts, test: { least: 50, most: 50 } })).toMatch(
      /^Expected 50 test images for concept n/,
    );
    expect(await open(1, { ...counts, train: { least: 7, most: 9 } })).toMatch(
      /^Expected 7 to 9 train images for concept/,
    );
    expect(await open(1, counts, root)).toMatch(/cog_levels_mapping_file\.pkl/);
    expect(await complaint(openDataset({ spec: `cog_l1:${root},${pickles}` }))).toMatch(/^Expected 1000 concepts/);
    const mixed = path.join(root, "mixed");
    const put = async (files: Record<string, string | Uint8Array>) => {
      await fs.cp(pickles, mixed, { recursive: true });
      await writeFiles(mixed, files);
    };
    const level = await fs.readFile(path.join(pickles, "cog_levels_mapping_file.pkl"));
    await put({ "cog_concepts_split_file.pkl": level });
    expect(await open(1, counts, `${root},${mixed}`)).toMatch(/^Expected a dictionary from concepts .* the pickle holds something else/); // prettier-ignore
    await put({ "cog_levels_mapping_file.pkl": await fs.readFile(path.join(pickles, "cog_concepts_split_file.pkl")) });
    expect(await open(1, counts, `${root},${mixed}`)).toMatch(/^Expected a list of concepts for each level/);
    // Of another release: the same lengths, other names.
    const first = wanted.levels[0]![0]!;
    const other = Buffer.from(level.toString("latin1").replaceAll(first, "n00000000"), "latin1");
    await put({ "cog_levels_mapping_file.pkl": other });
    expect(await open(1, counts, `${root},${mixed}`)).toMatch(
      /^Expected the images of concept n00000000 .* does not know/,
    );
    const hostile = "cos\nsystem\n(S'true'\ntR.";
    await put({ "cog_levels_mapping_file.pkl": hostile });
    expect(await open(1, counts, `${root},${mixed}`)).toMatch(/system/);
  });
});

test("ImageNet-1k's validation images are CoG's test, and have to be all", async () => {
  await writeFiles(root, { "train/a/1.jpg": "", "train/b/1.jpg": "", "val/a/1.jpg": "", "val/b/1.jpg": "" });
  const { splits, name } = await openIn1k({ spec: `in1k:${root}`, place: root }, { train: 2, val: 2 });
  expect([name, Object.keys(splits), splits.test!.name]).toEqual(["in1k", ["train", "test"], "test"]);
  expect(await complaint(openDataset({ spec: `in1k:${root}` }))).toMatch(
    /^Expected 1281167 images for train of in1k:.* but received 2/,
  );
});

describe("a level of one's own", () => {
  const table = "concept,level\nfinch,1\nwren,1\nbus,2\ntram,2\nlorry,3\n";
  const level = (name: string) => `levels:${root},${path.join(root, "birds.csv")},${name}`;

  test("holds the concepts of the table, from folders or archives", async () => {
    await writeFiles(root, {
      "birds.csv": table,
      ...{ "wren/2.jpg": "", "wren/1.png": "", "wren/note.txt": "", "finch/1.jpg": "" },
      ...{ "tram.tar": archive({ "t2.jpg": "b", "t1.jpg": "a" }), "bus.tar": archive({ "b1.jpg": "c" }) },
    });
    const first = await openDataset({ spec: level("1") });
    expect(first).toMatchObject({ name: "birds_1", classes: ["finch", "wren"] });
    expect(listed(first.splits.all!)).toEqual({
      files: ["finch/1.jpg", "wren/1.png", "wren/2.jpg"],
      labels: [0, 1, 1],
    });
    const second = await openDataset({ spec: level("2") });
    expect(listed(second.splits.all!)).toEqual({
      files: ["bus/b1.jpg", "tram/t1.jpg", "tram/t2.jpg"],
      labels: [0, 1, 1],
    });
    expect(await second.splits.all!.source(2)).toMatchObject({ kind: "range", length: 1 });
  });

  test("is refused in a sentence where something is wrong", async () => {
    await writeFiles(root, { "birds.csv": table, "wren/1.jpg": "", "finch/note.txt": "" });
    const refused = (name: string) => complaint(openDataset({ spec: level(name) }));
    expect(await refused("1")).toMatch(/^Expected images of concept finch in .* but there are none/);
    expect(await refused("2")).toMatch(/^Expected a folder bus, or an archive bus\.tar,/);
    expect(await refused("3")).toMatch(/^Expected at least two classes for level 3 .* received one only, "lorry"/);
    expect(await refused("4")).toMatch(/^Expected concepts of level 4 in .* but its levels are 1, 2, 3/);
    await writeFiles(root, { "birds.csv": `${table}wren,2\n` });
    expect(await refused("1")).toMatch(/line 7 repeats wren of line 3/);
    await writeFiles(root, { "birds.csv": "concept\nwren\n" });
    expect(await refused("1")).toMatch(/^Expected a column level in the header/);
    expect(await complaint(openDataset({ spec: `levels:${root}` }))).toMatch(/^Expected levels:IMAGES,FILE\.csv,LEVEL/);
  });
});
