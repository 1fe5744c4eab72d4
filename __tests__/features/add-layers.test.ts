import fs from "node:fs/promises";
import path from "node:path";

import { addLayers } from "../../lib/features/add-layers.js";
import { openStore } from "../../lib/features/store.js";
import { temporaryFolder } from "../command-line.js";
import { complaint } from "../datasets/files.js";
import { extract, filesOf, layers, unreadable } from "./synthetic.js";

const folder = temporaryFolder();
const [res4, res5] = layers as [(typeof layers)[0], (typeof layers)[0]];
const at = (name: string) => path.join(folder, name);

test("layers of another store are as if they had been extracted here, a begun one too", async () => {
  const both = await extract(at("both"));
  const to = await extract(at("to"), { layers: [res5] });
  const stop = () => {
    throw new Error("stopped");
  };
  await expect(extract(at("to"), { after: (row) => row > 50 && stop() })).rejects.toThrow("stopped");
  const from = await extract(at("from"), { layers: [res4] });
  await addLayers({ from: from.folder, to: to.folder });
  expect(await filesOf(to.folder)).toEqual(await filesOf(both.folder));
  await openStore({ folder: to.folder, verify: true });
  await expect(fs.stat(from.folder)).rejects.toThrow("ENOENT");
});

test("a layer that is there is replaced, and nothing is left of another name", async () => {
  const to = await extract(at("damaged"));
  const before = await filesOf(to.folder);
  await fs.rm(path.join(to.folder, to.layers[0]!.folder, "00001.npy"));
  await addLayers({ from: (await extract(at("again"), { layers: [res4] })).folder, to: to.folder });
  expect(await filesOf(to.folder)).toEqual(before);
});

test("other images are refused, and both stores stay", async () => {
  const to = await extract(at("all"), { layers: [res5] });
  const from = await extract(at("fewer"), { layers: [res4], bad: new Set([...unreadable, 7]) });
  const before = await filesOf(folder);
  expect(await complaint(addLayers({ from: from.folder, to: to.folder }))).toContain(
    `Expected the images of ${to.folder} again but class/7.jpg can be read in one of two runs only`,
  );
  expect(await filesOf(folder)).toEqual(before);
});
