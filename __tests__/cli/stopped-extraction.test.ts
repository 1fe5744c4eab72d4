import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { device, run, start, temporaryFolder } from "../command-line.js";
import { filesOf } from "../features/synthetic.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";

// Programs are started one after another, perhaps on a machine that has other work.
jest.setTimeout(240_000);

/** Kills a run when something has happened. @returns what it said till then. */
async function killWhen(argv: string[], cwd: string, happened: () => boolean): Promise<string> {
  const { child, ended } = start("frozen-eval", argv, cwd);
  let over = false;
  void ended.then(() => (over = true));
  while (!over && !happened()) await sleep(1);
  child.kill("SIGKILL");
  const { status, stderr } = await ended;
  // It must not have been done before the signal came.
  expect(status).toBeNull();
  return stderr;
}

describe("an extraction that is killed", () => {
  const folder = temporaryFolder();
  // A layer of half a megabyte an image, of which 64 make a shard: three shards.
  const images = 138;
  const argv = [
    "extract-features",
    "--backbone",
    "models/small/convnet",
    "--data",
    "folder:photos",
    "--device",
    device,
  ];
  const layers = ["--layers", "block0:identity", "--features-root"];

  test("goes on after the last whole shard, and leaves the bytes of an undisturbed run", async () => {
    await writeSmallBackbone({ root: path.join(folder, "models"), size: 64, channels: 32 });
    await writeSmallImages({ folder: path.join(folder, "photos"), count: images / 6, size: 96 });
    const undisturbed = await run("frozen-eval", [...argv, ...layers, "whole"], folder);
    expect(undisturbed).toMatchObject({ status: 0 });
    const store = path.join("small", "convnet", "photos", "features_all");
    const whole = await filesOf(path.join(folder, "whole", store));
    expect(Object.keys(whole).filter((name) => name.startsWith("block0"))).toHaveLength(3);

    const killed = path.join(folder, "killed", store);
    const layer = path.join(killed, "block0.identity");
    const written = () => (existsSync(layer) ? readdirSync(layer) : []);
    const shard = (index: number) => written().includes(`0000${index}.npy`);
    // What an earlier kill has left half-written does not count.
    let before: string[] = [];
    const begun = (index: number) =>
      written().some((name) => name.startsWith(`0000${index}.npy.`) && !before.includes(name));
    const moments: { happened: () => boolean; goesOnAt?: number }[] = [
      { happened: () => existsSync(path.join(killed, "store.json")) },
      { happened: () => begun(0) },
      // The kill may come before the journal says so: then the shard is made again.
      { happened: () => shard(0) },
      { happened: () => begun(1) },
      { happened: () => begun(2), goesOnAt: 64 },
    ];
    const again = [...argv, ...layers, "killed"];
    for (const { happened, goesOnAt } of moments) {
      before = written();
      const stderr = await killWhen(again, folder, happened);
      if (goesOnAt !== undefined) expect(stderr).toContain(`goes on at image ${goesOnAt} of ${images}`);
    }
    const last = await run("frozen-eval", again, folder);
    expect(last.status).toBe(0);
    expect(last.stderr).toContain(`goes on at image 128 of ${images}`);
    expect(await filesOf(killed)).toEqual(whole);
  });
});
