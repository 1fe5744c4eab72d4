import fc from "fast-check";

import { type Box, centreCrop, randomResizedCropBox, shortSideSize } from "../../lib/images/geometry.js";
import { random, type Random } from "../../lib/random.js";
import { golden } from "../golden.js";

interface Case {
  width: number;
  height: number;
  resize: number;
  crop: number;
  resized_width: number;
  resized_height: number;
  crop_left: number;
  crop_top: number;
}

test.each(golden<Case[]>("preprocess/geometry.json"))(
  "$width×$height, resize $resize, crop $crop as torchvision",
  ({ crop, resize, ...expected }) => {
    const size = shortSideSize(expected, resize);
    const { box } = centreCrop(size, { width: crop, height: crop });
    expect([size.width, size.height]).toEqual([expected.resized_width, expected.resized_height]);
    expect([box.left, box.top]).toEqual([expected.crop_left, expected.crop_top]);
  },
);

test("a crop that is larger than the image is padded, the odd pixel right and below", () => {
  expect(centreCrop({ width: 3, height: 10 }, { width: 6, height: 4 })).toEqual({
    padding: { left: 1, top: 0, right: 2, bottom: 0 },
    box: { left: 0, top: 3, width: 6, height: 4 },
  });
});

describe("randomResizedCropBox", () => {
  interface Drawn {
    width: number;
    height: number;
    scale: [number, number];
    ratio: [number, number];
    /** What PyTorch's generator gave, 32 bits each. */
    words: number[];
    box: Box;
  }

  test("takes torchvision's boxes from the numbers that torchvision drew", () => {
    const cases = golden<Drawn[]>("preprocess/random_resized_crop.json");
    // Some are found at the first try (four numbers), some fall back after ten (twenty).
    const tries = new Set(cases.map(({ words }) => words.length));
    expect([4, 6, 20].every((count) => tries.has(count))).toBe(true);
    for (const { width, height, scale, ratio, words, box } of cases) {
      const left = [...words];
      const stream: Random = {
        ...random(0),
        uniform: () => (left.shift()! % 2 ** 24) / 2 ** 24,
        integer: (bound) => left.shift()! % bound,
      };
      expect(randomResizedCropBox({ image: { width, height }, scale, ratio, random: stream })).toEqual(box);
      expect(left).toEqual([]);
    }
  });

  const usual = { scale: [0.08, 1] as const, ratio: [3 / 4, 4 / 3] as const };
  const side = fc.integer({ min: 1, max: 900 });

  test("lies inside the image, and the same seed gives the same box", () => {
    fc.assert(
      fc.property(side, side, fc.nat(), (width, height, seed) => {
        const draw = () => randomResizedCropBox({ image: { width, height }, ...usual, random: random(seed) });
        const box = draw();
        expect(box.left >= 0 && box.top >= 0 && box.width >= 1 && box.height >= 1).toBe(true);
        expect(box.left + box.width <= width && box.top + box.height <= height).toBe(true);
        expect(draw()).toEqual(box);
      }),
    );
  });

  test("has areas and aspect ratios in range, spread over it", () => {
    const stream = random(3);
    const boxes = Array.from({ length: 2000 }, () =>
      randomResizedCropBox({ image: { width: 500, height: 400 }, ...usual, random: stream }),
    );
    const shares = boxes.map(({ width, height }) => (width * height) / 200000);
    const ratios = boxes.map(({ width, height }) => width / height);
    expect(Math.min(...shares)).toBeGreaterThan(0.078);
    expect(Math.max(...shares)).toBeGreaterThan(0.85);
    // Uniform areas, but that tall and wide large ones do not fit: a little below the mean of 0.54.
    const mean = shares.reduce((sum, share) => sum + share) / shares.length;
    expect(mean).toBeGreaterThan(0.45);
    expect(mean).toBeLessThan(0.56);
    expect(Math.min(...ratios)).toBeGreaterThan(0.73);
    expect(Math.max(...ratios)).toBeLessThan(1.37);
  });

  // torchvision: no try fits, so the largest central part with the nearest ratio.
  test.each([
    [
      { width: 1000, height: 10 },
      { left: 493, top: 0, width: 13, height: 10 },
    ],
    [
      { width: 10, height: 1000 },
      { left: 0, top: 493, width: 10, height: 13 },
    ],
  ])("falls back for %j", (image, box) => {
    const never: Random = { ...random(0), uniform: () => 1 - 2 ** -32 };
    expect(randomResizedCropBox({ image, ...usual, random: never })).toEqual(box);
  });
});
