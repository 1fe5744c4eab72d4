import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { UserError } from "../../lib/errors.js";
import { sha256 } from "../../lib/files.js";
import { decodeImage, decodeResized } from "../../lib/images/decode.js";
import type { ImageSource } from "../../lib/images/image.js";
import { resizeImage } from "../../lib/images/resize.js";
import { golden, goldenPath } from "../golden.js";
import { bombs } from "./bombs.js";

interface Transforms {
  images: Record<string, { width: number; height: number; decoded_sha256_rgb: string }>;
}
interface Decoded {
  file: string;
  mode: string;
  width: number;
  height: number;
  sha256: string;
  /** After `ImageOps.exif_transpose`. */
  exif?: string;
  /** Pasted on #ff8000 with its alpha channel as mask. */
  flatten_ff8000?: string;
}

const inSet = (name: string): ImageSource => ({ kind: "file", path: goldenPath(`preprocess/src/${name}`) });
const ofPillow = (name: string): ImageSource => ({ kind: "file", path: goldenPath(`preprocess/pillow/src/${name}`) });

describe("decodeImage", () => {
  // JPEG too: sharp's decoder gives Pillow's pixels to the bit (baseline, progressive, 4:4:4, 4:2:2, 4:2:0).
  test.each(Object.entries(golden<Transforms>("preprocess/transforms.json").images))(
    "%s equals PIL's convert('RGB')",
    async (name, { width, height, decoded_sha256_rgb }) => {
      const image = await decodeImage({ source: inSet(name) });
      expect(image).toMatchObject({ width, height });
      expect(sha256(image.data)).toBe(decoded_sha256_rgb);
    },
  );

  const kinds = golden<Decoded[]>("preprocess/pillow/decode.json");
  test.each(kinds)("$file ($mode) equals PIL's convert('RGB')", async ({ file, width, height, sha256: digest }) => {
    const image = await decodeImage({ source: ofPillow(file) });
    expect(image).toMatchObject({ width, height });
    expect(sha256(image.data)).toBe(digest);
  });

  test.each(kinds.filter(({ exif }) => exif))("exif turns $file as PIL's exif_transpose", async ({ file, exif }) => {
    expect(sha256((await decodeImage({ source: ofPillow(file), exif: true })).data)).toBe(exif);
  });

  test.each(kinds.filter((kind) => kind.flatten_ff8000))(
    "flatten lays $file on a colour as PIL's paste",
    async (kind) => {
      const image = await decodeImage({ source: ofPillow(kind.file), flatten: [255, 128, 0] });
      expect(sha256(image.data)).toBe(kind.flatten_ff8000);
    },
  );

  test("bytes in memory are the same as the file", async () => {
    const bytes = readFileSync(goldenPath("preprocess/src/photo_china.jpg"));
    const [one, other] = [
      await decodeImage({ source: { kind: "bytes", bytes } }),
      await decodeImage({ source: inSet("photo_china.jpg") }),
    ];
    expect(Buffer.compare(one.data, other.data)).toBe(0);
  });

  test("takes pixels of one and of three channels", async () => {
    const grey = await decodeImage({
      source: { kind: "pixels", width: 2, height: 1, channels: 1, data: Uint8Array.of(7, 9) },
    });
    expect([...grey.data]).toEqual([7, 7, 7, 9, 9, 9]);
    const colour = await decodeImage({
      source: { kind: "pixels", width: 1, height: 1, channels: 3, data: Uint8Array.of(1, 2, 3) },
    });
    expect([...colour.data]).toEqual([1, 2, 3]);
  });
});

describe("decodeImage names what is wrong:", () => {
  let folder: string;
  beforeAll(() => (folder = mkdtempSync(path.join(os.tmpdir(), "frozen-eval-"))));
  afterAll(() => rmSync(folder, { recursive: true }));

  const failure = async (name: string, content: Uint8Array): Promise<string> => {
    const file = path.join(folder, name);
    writeFileSync(file, content);
    const error = await decodeImage({ source: { kind: "file", path: file } }).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(UserError);
    return (error as UserError).message.replace(file, name);
  };

  test.each([
    "src/photo_china.jpg",
    "src/progressive.jpg",
    "src/photo_cat.png",
    "pillow/src/lossy.webp",
    "pillow/src/p.gif",
    "pillow/src/rgb.bmp",
    "pillow/src/rgb.ppm",
    "pillow/src/text.ppm",
    "pillow/src/lzw.tif",
  ])("a truncated %s", async (name) => {
    const whole = readFileSync(goldenPath(`preprocess/${name}`));
    const message = await failure(path.basename(name), whole.subarray(0, Math.floor(whole.length / 4)));
    expect(message).toMatch(/^Expected an image for .* but received a (truncated|broken) |no image format/);
  });

  test("a JPEG that lacks only its end, which PIL refuses too", async () => {
    const whole = readFileSync(goldenPath("preprocess/src/photo_china.jpg"));
    expect(await failure("end.jpg", whole.subarray(0, -2))).toContain("a truncated file");
  });

  test("an empty file", async () => {
    expect(await failure("empty.jpg", new Uint8Array())).toBe(
      "Expected an image for empty.jpg but received an empty file (0 bytes)",
    );
  });

  test("a file that is no image", async () => {
    expect(await failure("page.jpg", Buffer.from("<html>404</html>"))).toBe(
      "Expected an image for page.jpg but received a file of no image format that is known here " +
        "(16 bytes that begin with 3c 68 74 6d 6c 3e 34 30)",
    );
  });

  test("a drawing", async () => {
    expect(
      await failure("a.svg", Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')),
    ).toContain("drawing");
  });

  test.each(Object.entries(bombs()))("a decompression bomb: %s", async (name, bytes) => {
    // These are decoded here, and lack their pixels.
    const reason = ["bmp", "ppm"].includes(name) ? /truncated/ : /more than 178956970 pixels/;
    expect(await failure(`bomb.${name}`, bytes)).toMatch(reason);
  });

  test("a file that is not there, and pixels of the wrong length", async () => {
    await expect(decodeImage({ source: { kind: "file", path: path.join(folder, "none.jpg") } })).rejects.toThrow(
      /Expected an image at .*none.jpg but there is no such file/,
    );
    await expect(
      decodeImage({ source: { kind: "pixels", width: 2, height: 2, channels: 3, data: new Uint8Array(4) } }),
    ).rejects.toThrow("Expected 2×2×3 = 12 bytes for the pixels of an image but received 4");
  });
});

test.each(["photo_china.jpg", "rgba.png"])("decodeResized is near to the exact way (%s)", async (name) => {
  const image = await decodeResized({
    source: inSet(name),
    target: () => ({ width: 64, height: 48 }),
    kernel: "linear",
  });
  expect([image.width, image.height, image.data.length]).toEqual([64, 48, 64 * 48 * 3]);
  const exact = resizeImage({
    image: await decodeImage({ source: inSet(name) }),
    width: 64,
    height: 48,
    filter: "bilinear",
  });
  const off = exact.data.reduce((sum, value, i) => sum + Math.abs(value - image.data[i]!), 0) / exact.data.length;
  expect(off).toBeLessThan(6);
});
