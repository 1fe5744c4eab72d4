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

test("broken off at any of its moves, the store opens as before, and made again it has the layers", async () => {
  const whole = await filesOf((await extract(at("undisturbed"))).folder);
  const one = await extract(at("one"), { layers: [res5] });
  const other = await extract(at("other"), { layers: [res4] });
  const { rename } = fs;
  let done = 0;
  for (let broken = true; broken; done++) {
    const [from, to] = [at(`from-${done}`), at(`to-${done}`)] as const;
    await fs.cp(one.folder, to, { recursive: true });
    await fs.cp(other.folder, from, { recursive: true });
    let moves = 0;
    const moving = jest.spyOn(fs, "rename").mockImplementation(async (...paths) => {
      // The lock is let go in good order, as its holder's death would have it.
      if (!paths.join().includes("lock") && moves++ >= done) throw new Error("killed");
      return rename(...paths);
    });
    broken = await addLayers({ from, to }).then(
      () => false,
      () => true,
    );
    moving.mockRestore();
    if (broken) {
      await openStore({ folder: to, verify: true });
      // The parts of a launch are kept until their layers are in the store.
      await fs.rm(from, { recursive: true });
      await fs.cp(other.folder, from, { recursive: true });
      await addLayers({ from, to });
    }
    expect(await filesOf(to)).toEqual(whole);
  }
  // Four moves: the layer, ids, labels, the description; then one time whole.
  expect(done).toBe(5);
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
