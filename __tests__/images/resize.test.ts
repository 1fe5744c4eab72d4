import fc from "fast-check";

import { sha256 } from "../../lib/files.js";
import { decodeImage } from "../../lib/images/decode.js";
import type { Box } from "../../lib/images/geometry.js";
import type { RgbImage } from "../../lib/images/image.js";
import { crop } from "../../lib/images/rearrange.js";
import { resizeImage } from "../../lib/images/resize.js";
import { resizeFilters, type ResizeFilter } from "../../lib/images/resize-weights.js";
import { golden, goldenPath } from "../golden.js";

interface Case {
  image: string;
  filter: ResizeFilter;
  width: number;
  height: number;
  box?: Box;
  sha256: string;
}

const images = new Map<string, Promise<RgbImage>>();
function open(name: string): Promise<RgbImage> {
  const file = goldenPath(`preprocess/${name.includes("/") ? name : `src/${name}`}`);
  if (!images.has(name)) images.set(name, decodeImage({ source: { kind: "file", path: file } }));
  return images.get(name)!;
}

const anImage: fc.Arbitrary<RgbImage> = fc
  .record({ width: fc.integer({ min: 1, max: 40 }), height: fc.integer({ min: 1, max: 40 }) })
  .chain(({ width, height }) =>
    fc
      .uint8Array({ minLength: width * height * 3, maxLength: width * height * 3 })
      .map((data) => ({ width, height, data })),
  );
const aSize = fc.integer({ min: 1, max: 60 });

describe("resizeImage", () => {
  // Whole images and boxes with fractions, up and down, 1×1 and 1×N, passes that are skipped, the vertical pass first.
  test.each(resizeFilters)("%s equals Pillow to the bit", async (filter) => {
    const cases = golden<Case[]>("preprocess/pillow/resize.json").filter((one) => one.filter === filter);
    expect(cases.length).toBeGreaterThan(30);
    for (const { image, width, height, box, sha256: digest } of cases) {
      const resized = resizeImage({
        image: await open(image.replace("pillow/", "pillow/src/")),
        width,
        height,
        filter,
        box,
      });
      expect({ image, width, height, box, digest: sha256(resized.data) }).toEqual({
        image,
        width,
        height,
        box,
        digest,
      });
    }
  });

  test("a window has the pixels that it has in the whole", () => {
    fc.assert(
      fc.property(
        anImage,
        aSize,
        aSize,
        fc.constantFrom(...resizeFilters),
        fc.tuple(fc.nat(1000), fc.nat(1000), fc.nat(1000), fc.nat(1000)),
        (image, width, height, filter, [a, b, c, d]) => {
          const [left, top] = [a % width, b % height];
          const window = { left, top, width: 1 + (c % (width - left)), height: 1 + (d % (height - top)) };
          const part = resizeImage({ image, width, height, filter, window });
          const whole = resizeImage({ image, width, height, filter });
          expect(part).toEqual(crop(whole, window));
        },
      ),
      { numRuns: 300 },
    );
  });

  test("one colour stays that colour", () => {
    fc.assert(
      fc.property(fc.nat(255), aSize, aSize, fc.constantFrom(...resizeFilters), (level, width, height, filter) => {
        const image = { width: 9, height: 11, data: new Uint8Array(297).fill(level) };
        expect(resizeImage({ image, width, height, filter }).data.every((value) => value === level)).toBe(true);
      }),
    );
  });

  test("an image beyond the memory that is kept is right, and so is the next", async () => {
    const large = { width: 6000, height: 4000, data: new Uint8Array(72e6).fill(200) };
    const small = resizeImage({ image: large, width: 300, height: 200, filter: "bicubic" });
    expect(small.data.every((value) => value === 200)).toBe(true);
    const image = await open("tiny.png");
    const twice = [0, 1].map(() => resizeImage({ image, width: 7, height: 7, filter: "lanczos" }));
    expect(twice[0]).toEqual(twice[1]);
  });

  test("names what is wrong", () => {
    const image = { width: 2, height: 2, data: new Uint8Array(12) };
    expect(() => resizeImage({ image, width: 0, height: 2, filter: "box" })).toThrow(
      "Expected a positive integer for the width of a resize but received 0",
    );
    const box = { left: 1, top: 0, width: 2, height: 1 };
    expect(() => resizeImage({ image, width: 2, height: 2, filter: "box", box })).toThrow(
      "Expected a box inside 2×2 for the box of a resize",
    );
  });
});
