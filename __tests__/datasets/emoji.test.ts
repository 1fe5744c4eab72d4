import { existsSync } from "node:fs";
import path from "node:path";

import { openDataset } from "../../lib/datasets/open.js";
import { cacheFolder } from "../../lib/downloads/cache.js";
import { decodeImage } from "../../lib/images/decode.js";
import { noRegistry } from "../registry.js";
import { complaint } from "./files.js";

/** Fetched once for this user: 74 MB. */
const cached = existsSync(path.join(cacheFolder(), "images", "emoji-datasource-google-16.0.0"));
const missing = cached ? undefined : noRegistry();

(missing ? describe.skip : describe)(`Google's emoji${missing ? ` (${missing})` : ""}`, () => {
  const open = (spec: string) => openDataset({ spec });

  test("are 1906 images of 9 categories", async () => {
    const { name, classes, multiLabel, splits } = await open("emoji:google");
    const all = splits.all!;
    expect({ name, multiLabel, size: all.size }).toEqual({ name: "emoji-google", multiLabel: false, size: 1906 });
    expect(classes).toEqual([
      "Activities",
      "Animals & Nature",
      "Flags",
      "Food & Drink",
      "Objects",
      "People & Body",
      "Smileys & Emotion",
      "Symbols",
      "Travel & Places",
    ]);
    const labels = all.targets.labels;
    const counts = classes.map((_, label) => labels.filter((one) => one === label).length);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(1906);
    expect(Math.min(...counts)).toBeGreaterThan(80);
    // The grinning face, and a flag.
    const classOf = (id: string) => classes[labels[all.ids.indexOf(id)]!];
    expect(classOf("1f600.png")).toBe("Smileys & Emotion");
    expect(classOf("1f1eb-1f1f7.png")).toBe("Flags");
    expect(new Set(all.ids).size).toBe(1906);

    const grinning = await decodeImage({
      source: await all.source(all.ids.indexOf("1f600.png")),
      flatten: [255, 255, 255],
    });
    expect([grinning.height, grinning.width]).toEqual([64, 64]);
    // A yellow face on white.
    const [red, green, blue] = grinning.data.subarray(3 * (64 * 20 + 32));
    expect(red! - blue!).toBeGreaterThan(80);
    expect(green! - blue!).toBeGreaterThan(80);
    expect(Array.from(grinning.data.subarray(0, 3))).toEqual([255, 255, 255]);
  }, 300_000);

  test("or of 98 subcategories, in the same order", async () => {
    const [one, other] = [await open("emoji:google"), await open("emoji:google/subcategory")];
    expect(other.classes).toHaveLength(98);
    expect(other.name).toBe("emoji-google-subcategory");
    expect(other.splits.all!.ids).toEqual(one.splits.all!.ids);
    expect(other.splits.all!.digest).not.toBe(one.splits.all!.digest);
  });
});

test("a vendor or a kind of labels that does not exist", async () => {
  expect(await complaint(openDataset({ spec: "emoji:gogle" }))).toContain('"emoji:gogle" Did you mean google?');
  expect(await complaint(openDataset({ spec: "emoji:google/subcategories" }))).toContain("Did you mean subcategory");
  expect(await complaint(openDataset({ spec: "emoji:__proto__" }))).toContain("emoji:VENDOR");
});
