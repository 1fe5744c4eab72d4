import { readFileSync } from "node:fs";

import fc from "fast-check";

import { sha256 } from "../../lib/files.js";
import { decodeImage } from "../../lib/images/decode.js";
import type { ImageSource } from "../../lib/images/image.js";
import { crop } from "../../lib/images/rearrange.js";
import { resizeImage } from "../../lib/images/resize.js";
import type { ResizeFilter } from "../../lib/images/resize-weights.js";
import { applyTransform, applyTransformInto, parseTransform, transformPixels } from "../../lib/images/transform.js";
import { previewPng } from "../../lib/images/write.js";
import { random } from "../../lib/random.js";
import { golden, goldenPath } from "../golden.js";

interface Transforms {
  images: Record<string, { outputs: Record<string, { file: string; sha256_rgb: string }> }>;
}
interface Crop {
  image: string;
  i: number;
  j: number;
  h: number;
  w: number;
  size: number;
  interpolation: ResizeFilter;
  file: string;
}

const chains: Record<string, string> = {
  r256bil_c224: "resize(256,bilinear)|center_crop(224)",
  r224bic_c224: "resize(224,bicubic)|center_crop(224)",
  r256_then_224x224: "resize(256,bilinear)|resize(224x224,bilinear)",
  r256bic_c224: "resize(256,bicubic)|center_crop(224)",
  r384bic_c384: "resize(384,bicubic)|center_crop(384)",
  c224_only: "center_crop(224)",
  r224x224bil: "resize(224x224,bilinear)",
};
const file = (name: string): ImageSource => ({ kind: "file", path: goldenPath(`preprocess/src/${name}`) });
const china = file("photo_china.jpg");
const grid: ImageSource = {
  ...{ kind: "pixels", width: 3, height: 2, channels: 1 },
  data: Uint8Array.of(10, 20, 30, 40, 50, 60),
};
/** The first channel, row by row. */
async function reds(text: string, source = grid, seed = 0): Promise<number[]> {
  const { data } = await transformPixels({ transform: parseTransform(text), source, random: random(seed) });
  return [...data].filter((_, i) => i % 3 === 0);
}

describe("the transform's pixels", () => {
  const cases = Object.entries(golden<Transforms>("preprocess/transforms.json").images).flatMap(
    ([image, { outputs }]) => Object.entries(outputs).map(([chain, { sha256_rgb }]) => ({ image, chain, sha256_rgb })),
  );
  test.each(cases)("$image $chain equals torchvision on Pillow to the bit", async ({ image, chain, sha256_rgb }) => {
    const transform = parseTransform(chains[chain]!);
    const { data } = await transformPixels({ transform, source: file(image) });
    expect(sha256(data)).toBe(sha256_rgb);
  });

  test.each(golden<Crop[]>("preprocess/crops.json"))("a crop and resize equals $file", async (one) => {
    const source: ImageSource = { kind: "file", path: goldenPath(`preprocess/${one.file}`) };
    const image = crop(await decodeImage({ source: file(one.image) }), {
      ...{ left: one.j, top: one.i, width: one.w, height: one.h },
    });
    const resized = resizeImage({ image, width: one.size, height: one.size, filter: one.interpolation });
    expect(sha256(resized.data)).toBe(sha256((await decodeImage({ source })).data));
  });

  test("hflip(1) equals torchvision's flip", async () => {
    const transform = parseTransform("resize(256,bilinear)|center_crop(224)|hflip(1)");
    const flipped = await decodeImage({
      source: { kind: "file", path: goldenPath("preprocess/crops/photo_china_jpg.flipped.png") },
    });
    expect(await transformPixels({ transform, source: china })).toEqual(flipped);
  });

  test("small ones by hand", async () => {
    expect(await reds("hflip(1)")).toEqual([30, 20, 10, 60, 50, 40]);
    expect(await reds("pad_square(#070000)")).toEqual([10, 20, 30, 40, 50, 60, 7, 7, 7]);
    expect(await reds("center_crop(2x4)")).toEqual([10, 20, 30, 0, 40, 50, 60, 0]);
    const bgr = await transformPixels({
      transform: parseTransform("channels(bgr)"),
      source: { kind: "pixels", width: 1, height: 1, channels: 3, data: Uint8Array.of(1, 2, 3) },
    });
    expect([...bgr.data]).toEqual([3, 2, 1]);
  });

  test("chance: the same seed gives the same pixels, others give others", async () => {
    const text = "random_resized_crop(16,bilinear)|hflip()";
    expect(await reds(text, china, 1)).toEqual(await reds(text, china, 1));
    expect(await reds(text, china, 1)).not.toEqual(await reds(text, china, 2));
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) seen.add((await reds("random_crop(1)", grid, seed)).join());
    expect([...seen].sort()).toEqual(["10", "20", "30", "40", "50", "60"]);
    expect((await reds("random_crop(8,padding=3)", grid, 5)).length).toBe(64);
  });

  test("an image that is too small for random_crop is named", async () => {
    await expect(reds("random_crop(4)")).rejects.toThrow(
      "Expected an image of at least 4×4 for random_crop but received 3×2",
    );
  });

  test("fast_resize has the exact size and nearly the exact pixels", async () => {
    const [fast, exact] = [await reds("fast_resize(64)", china), await reds("resize(64)", china)];
    expect(fast.length).toBe(exact.length);
    expect(fast.reduce((sum, value, i) => sum + Math.abs(value - exact[i]!), 0) / fast.length).toBeLessThan(6);
  });

  test("previewPng is that image", async () => {
    const transform = parseTransform("resize(32)|center_crop(24)|normalize(imagenet)");
    const bytes = await previewPng({ transform, source: china });
    const image = await decodeImage({ source: { kind: "bytes", bytes } });
    expect(image).toEqual(await transformPixels({ transform, source: china }));
  });
});

describe("the transform's numbers", () => {
  test("equal torchvision's ToTensor and Normalize", async () => {
    const text = "resize(256,bilinear)|center_crop(224)|normalize(imagenet)";
    const { data, height, width } = await applyTransform({ transform: parseTransform(text), source: china });
    expect([height, width]).toEqual([224, 224]);
    // NumPy's format: ten bytes, the length of the header, the header, float32 [28, 28, 3].
    const bytes = readFileSync(goldenPath("preprocess/normalized.npy"));
    const start = 10 + bytes.readUInt16LE(8);
    let worst = 0;
    for (let i = 0; i < 28 * 28 * 3; i++) {
      const [y, x, c] = [Math.floor(i / 84), Math.floor(i / 3) % 28, i % 3];
      worst = Math.max(worst, Math.abs(bytes.readFloatLE(start + i * 4) - data[(y * 8 * 224 + x * 8) * 3 + c]!));
    }
    expect(worst).toBeLessThan(1e-6);
  });

  test.each([
    ["normalize(none)", [0, 1, 51 / 255]],
    ["normalize(bytes)", [0, 255, 51]],
    ["normalize(half)", [-1, 1, -0.6]],
    ["normalize(lite)", [-127 / 128, 1, -76 / 128]],
    ["normalize(mean=0/0.5/0.1,std=1/0.5/2)", [0, 1, 0.05]],
    ["normalize(mean=0/5/1,std=1/250/2,range=255)", [0, 1, 25]],
    ["channels(bgr)|normalize(mean=0/0/0,std=1/1/2)", [0.2, 1, 0]],
    ["normalize(mean=0/0/0,std=1/1/2)|channels(bgr)", [0.1, 1, 0]],
  ])("%s", async (text, expected) => {
    const source: ImageSource = { kind: "pixels", width: 1, height: 1, channels: 3, data: Uint8Array.of(0, 255, 51) };
    const { data } = await applyTransform({ transform: parseTransform(text), source });
    expected.forEach((value, i) => expect(data[i]).toBeCloseTo(value, 6));
  });

  test("are written in place, if they fit", async () => {
    const into = new Float32Array(18);
    await applyTransformInto({ transform: parseTransform("normalize(none)"), source: grid, into });
    expect(into[15]).toBeCloseTo(60 / 255, 6);
    await expect(applyTransformInto({ transform: parseTransform("resize(4)"), source: grid, into })).rejects.toThrow(
      "Expected 18 values for an image but received 4×6×3",
    );
  });
});

describe("parseTransform", () => {
  test.each([
    [
      "resize(256) | center_crop(224x224)|normalize(imagenet)",
      "resize(256,bilinear)|center_crop(224)|normalize(imagenet)",
    ],
    ["resize(224x224,bicubic)", "resize(224x224,bicubic)|normalize(none)"],
    ["normalize(mean=0.5/0.5/0.5,std=0.5/0.5/0.5)", "normalize(half)"],
    ["normalize(mean=127/127/127,std=128/128/128,range=255)", "normalize(lite)"],
    ["normalize(mean=.1/.2/.3,std=1/1/2)", "normalize(mean=0.1/0.2/0.3,std=1/1/2)"],
    ["flatten(#FFFFFF)|exif()|pad_square()", "flatten(white)|exif()|pad_square(white)|normalize(none)"],
    ["pad_square(#0a0B0c)", "pad_square(#0a0b0c)|normalize(none)"],
    ["channels(rgb)|hflip(0)", "normalize(none)"],
    [
      "random_resized_crop(224,bicubic,scale=0.08..1,ratio=0.75..1.3333)",
      "random_resized_crop(224,bicubic)|normalize(none)",
    ],
    [
      "random_resized_crop(96,scale=0.2..1,ratio=1/2..2)",
      "random_resized_crop(96,bilinear,scale=0.2..1,ratio=0.5..2)|normalize(none)",
    ],
    ["random_crop(32,padding=4)|hflip()", "random_crop(32,padding=4)|hflip(0.5)|normalize(none)"],
    ["fast_resize(64)", "fast_resize(64,bilinear)|normalize(none)"],
  ])("%s means %s", (text, canonical) => {
    expect(parseTransform(text).text).toBe(canonical);
    expect(parseTransform(canonical).text).toBe(canonical);
  });

  test("says what is random, and the size where it is known", () => {
    expect(parseTransform("resize(256)|center_crop(224)").random).toBe(false);
    expect(parseTransform("hflip(1)").random).toBe(false);
    expect(parseTransform("hflip(0.5)").random).toBe(true);
    expect(parseTransform("resize(256)|center_crop(224x192)").outputSize()).toEqual([224, 192]);
    expect(parseTransform("resize(256)").outputSize()).toBeUndefined();
    expect(parseTransform("resize(256)").outputSize({ width: 500, height: 375 })).toEqual([256, 341]);
    expect(parseTransform("pad_square()").outputSize({ width: 5, height: 3 })).toEqual([5, 5]);
  });

  test.each([
    [
      "rezise(256)",
      'Expected the name of a step at position 1 of the transform but received "rezise"',
      "Did you mean resize",
    ],
    ["resize(256)|center_crop", "Expected a step like center_crop(224) at position 2", "Did you mean center_crop"],
    ["", "Expected a step like center_crop(224) at position 1", ""],
    ["resize()", "Expected a size for step 1 (resize) of the transform but received nothing", ""],
    ["resize(12.5)", "Expected a size like 224, or height × width like 224x224 for step 1 (resize)", ""],
    ["resize(0)", "Expected a size from 1 to 16384 pixels for step 1 (resize)", ""],
    ["resize(256,bilinaer)", "Expected one of bilinear, bicubic, lanczos, box, hamming", "Did you mean bilinear"],
    ["fast_resize(256,box)", "Expected one of bilinear, bicubic, lanczos for", ""],
    [
      "center_crop(224,bilinear)",
      'Expected nothing more for step 1 (center_crop) of the transform but received "bilinear"',
      "",
    ],
    ["flatten(pink)", "Expected white, black or a colour like #7f7f7f", ""],
    ["hflip(2)", "Expected a probability in [0, 1]", ""],
    ["channels(gbr)", "Expected one of bgr, rgb", ""],
    ["normalize(imagnet)", "Expected one of imagenet, clip, half, lite", "Did you mean imagenet"],
    ["normalize(mean=1/2/3)", "Expected mean=… and std=… together", ""],
    ["normalize(mean=1/2,std=1/1/1)", "Expected mean=R/G/B, three numbers", ""],
    ["normalize(mean=1/2/3,std=1/0/1)", "Expected positive numbers for std", ""],
    ["random_resized_crop(8,scale=0..1)", "Expected two numbers like scale=0.08..1", ""],
    [
      "random_resized_crop(8,skale=0.1..1)",
      'Expected nothing more for step 1 (random_resized_crop) of the transform but received "skale',
      "",
    ],
    ["resize(8)|flatten(white)", "Expected exif and flatten before all other steps", ""],
    ["center_crop(8)|fast_resize(4)", "Expected fast_resize as the first step on the image", "use resize"],
    ["normalize(half)|resize(8)", "Expected normalize after the steps that work on 8-bit images", ""],
    ["normalize(half)|normalize(half)", "Expected normalize once", ""],
  ])("%j: %s", (text, message, hint) => {
    const parse = () => parseTransform(text);
    expect(parse).toThrow(
      expect.objectContaining({ name: "UserError", message: expect.stringContaining(message) as string }) as Error,
    );
    if (hint)
      expect(parse).toThrow(expect.objectContaining({ hint: expect.stringContaining(hint) as string }) as Error);
  });

  test("never fails otherwise than by a UserError", () => {
    const piece = fc.constantFrom(
      "resize",
      "(",
      ")",
      "|",
      ",",
      "224",
      "x",
      "=",
      "..",
      "/",
      "normalize",
      "mean",
      "hflip",
      "#",
      "constructor",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        try {
          const { text } = parseTransform(pieces.join(""));
          expect(parseTransform(text).text).toBe(text);
        } catch (error) {
          expect(error).toHaveProperty("name", "UserError");
        }
      }),
      { numRuns: 2000 },
    );
  });
});
