import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import fs from "node:fs/promises";
import { isMainThread } from "node:worker_threads";

import sharp from "sharp";

import { messageOf, UserError } from "../errors.js";
import { asReadError } from "../files.js";
import { isBitmap, readBitmap } from "./bmp.js";
import type { Size } from "./geometry.js";
import type { ImageSource, RgbImage } from "./image.js";
import { isNetpbm, readNetpbm } from "./netpbm.js";
import { UnreadableImage } from "./unreadable.js";
import { readZipEntry } from "./zip-entry.js";

/** Red, green, blue, 0 … 255. */
export type Colour = readonly [number, number, number];

export interface DecodeOptions {
  source: ImageSource;
  /** Turn the image as its EXIF orientation says (PIL's `exif_transpose`). Default: as the pixels lie in the file. */
  exif?: boolean;
  /** Lay transparent parts on this colour. Default: alpha is dropped, and what lies behind it shows. */
  flatten?: Colour;
}

/** PIL refuses larger images as decompression bombs. */
const pixelLimit = 178_956_970;

/**
 * Decodes an image to what PIL's `Image.open(file).convert("RGB")` gives: EXIF orientation not applied, alpha dropped,
 * CMYK without a profile, no ICC conversion, no gamma; the high byte of 16-bit colour, but 16-bit grey clipped at 255.
 * JPEG, PNG, WebP, BMP, Netpbm and the usual TIFF are equal to Pillow's to the bit; AVIF is not, and a GIF's
 * transparent pixels are black here.
 *
 * @throws UserError where the source cannot be read, is empty, truncated, no image, or larger than `pixelLimit`.
 */
export async function decodeImage({ source, exif = false, flatten }: DecodeOptions): Promise<RgbImage> {
  if (source.kind === "pixels") return fromPixels(source);
  return withBytes(source, async (bytes) => {
    if (bytes.length === 0) throw new UnreadableImage("an empty file (0 bytes)");
    if (isBitmap(bytes)) return checkSize(readBitmap(bytes));
    if (isNetpbm(bytes)) return checkSize(readNetpbm(bytes));
    // Nearly every file of a data set takes this way: no look at the header by sharp, no conversion of what is sRGB.
    if (jpegComponents(bytes) === 3) return spread(await rawPixels(open(bytes, exif)));
    return await decodeByKind(bytes, exif, flatten);
  });
}

/**
 * Decodes and resizes in one go with sharp, whose JPEG decoder leaves out what a smaller image does not need. Several
 * times as fast as the exact way for large photographs; samples differ from it by some levels.
 */
export async function decodeResized(
  options: DecodeOptions & { target: (image: Size) => Size; kernel: "linear" | "cubic" | "lanczos3" },
): Promise<RgbImage> {
  const { source, exif = false, target, kernel } = options;
  const resized = (image: sharp.Sharp, size: Size) =>
    toRgb(image.resize({ ...target(size), kernel, fit: "fill", fastShrinkOnLoad: true }));
  if (source.kind !== "pixels") {
    const shrunk = await withBytes(source, async (bytes) => {
      if (jpegComponents(bytes) !== 3) return undefined;
      const image = open(bytes, exif);
      const { width, height, autoOrient } = await image.metadata();
      return resized(image, exif ? autoOrient : { width, height });
    });
    if (shrunk) return shrunk;
  }
  const { data, width, height } = await decodeImage(options);
  return resized(sharp(data, { raw: { width, height, channels: 3 } }), { width, height });
}

type EncodedSource = Exclude<ImageSource, { kind: "pixels" }>;

/** Runs a decoder on an encoded file; what it complains about becomes a UserError that names the file. */
async function withBytes<T>(source: EncodedSource, decode: (bytes: Uint8Array) => Promise<T>): Promise<T> {
  const bytes = await bytesOf(source);
  try {
    return await decode(bytes);
  } catch (error) {
    throw asDecodeError(error, placeOf(source), bytes);
  }
}

async function bytesOf(source: EncodedSource): Promise<Uint8Array> {
  switch (source.kind) {
    case "bytes":
      return source.bytes;
    case "file":
      return readImageFile(source.path);
    case "range":
      return readRange(source);
    case "zip":
      return readZipEntry(source);
  }
}

function placeOf(source: EncodedSource): string {
  switch (source.kind) {
    case "bytes":
      return `an image of ${source.bytes.length} bytes in memory`;
    case "file":
      return source.path;
    case "range":
      return `the ${source.length} bytes from ${source.offset} on in ${source.path}`;
    case "zip":
      return `the entry at ${source.headerStart} of ${source.path}`;
  }
}

function readRange(source: Extract<ImageSource, { kind: "range" }>): Uint8Array {
  const bytes = new Uint8Array(source.length);
  try {
    const file = openSync(source.path, "r");
    try {
      const read = readSync(file, bytes, 0, source.length, source.offset);
      if (read === source.length) return bytes;
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw asReadError(error, source.path, "packed images");
  }
  throw new UserError(`Expected an image for ${placeOf(source)} but the file ends before`);
}

async function readImageFile(path: string): Promise<Uint8Array> {
  try {
    // A worker has nothing else to do meanwhile, and an asynchronous read costs it ten times the processor time.
    return isMainThread ? await fs.readFile(path) : readFileSync(path);
  } catch (error) {
    throw asReadError(error, path, "an image");
  }
}

function open(bytes: Uint8Array, exif: boolean): sharp.Sharp {
  const image = sharp(bytes, { failOn: "truncated", ignoreIcc: true, limitInputPixels: pixelLimit });
  return exif ? image.autoOrient() : image;
}

async function decodeByKind(bytes: Uint8Array, exif: boolean, flatten?: Colour): Promise<RgbImage> {
  const image = open(bytes, exif);
  const { format, space, hasAlpha } = await image.metadata();
  if (format === "svg" || format === "pdf") throw new UnreadableImage(`a drawing (${format}), which has no pixels`);
  if (space === "cmyk") return cmykToRgb(await rawPixels(image.pipelineColourspace("cmyk").toColourspace("cmyk")));
  // PIL keeps 16-bit grey as it is, and clips it when it becomes RGB; but grey with an alpha channel of its own is
  // read as 8-bit. (PNG's colour type, byte 25, is 4 then; sharp also counts a transparent colour as alpha.)
  if (space === "grey16" && !(hasAlpha && bytes[25] === 4)) {
    const { data, info } = await image.toColourspace("grey16").raw({ depth: "ushort" }).toBuffer(withSize);
    const samples = new Uint16Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
    const clipped = Uint8Array.from(samples, (value) => Math.min(value, 255));
    return spread({ ...info, data: clipped });
  }
  return toRgb(image, flatten);
}

const withSize = { resolveWithObject: true } as const;

interface RawPixels {
  width: number;
  height: number;
  channels: number;
  data: Uint8Array;
}

async function rawPixels(image: sharp.Sharp): Promise<RawPixels> {
  const { data, info } = await image.raw().toBuffer(withSize);
  const { width, height, channels } = info;
  return { width, height, channels, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
}

async function toRgb(image: sharp.Sharp, flatten?: Colour): Promise<RgbImage> {
  const pixels = await rawPixels(image.toColourspace("srgb"));
  return flatten && pixels.channels % 2 === 0 ? layOn(pixels, flatten) : spread(pixels);
}

/** One to four interleaved channels to three: grey is repeated, alpha dropped. */
function spread({ width, height, channels, data }: RawPixels): RgbImage {
  if (channels === 3) return { width, height, data };
  const rgb = new Uint8Array(width * height * 3);
  const [green, blue] = channels > 2 ? [1, 2] : [0, 0];
  for (let from = 0, to = 0; to < rgb.length; from += channels, to += 3) {
    rgb[to] = data[from]!;
    rgb[to + 1] = data[from + green]!;
    rgb[to + 2] = data[from + blue]!;
  }
  return { width, height, data: rgb };
}

/** As PIL's `paste` with the alpha channel as mask. */
function layOn(pixels: RawPixels, colour: Colour): RgbImage {
  const { channels, data } = pixels;
  const image = spread(pixels);
  for (let from = channels - 1, to = 0; to < image.data.length; from += channels, to += 3) {
    const alpha = data[from]!;
    for (let c = 0; c < 3; c++) {
      image.data[to + c] = over255(image.data[to + c]! * alpha + colour[c]! * (255 - alpha));
    }
  }
  return image;
}

/** PIL's conversion, which knows no profiles: each ink takes its share of what black leaves. */
function cmykToRgb({ width, height, channels, data }: RawPixels): RgbImage {
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < rgb.length; from += channels, to += 3) {
    const light = 255 - data[from + 3]!;
    for (let c = 0; c < 3; c++) rgb[to + c] = Math.max(0, light - over255(data[from + c]! * light));
  }
  return { width, height, data: rgb };
}

/** `value` / 255, rounded, for 0 … 255². */
function over255(value: number): number {
  const half = value + 128;
  return (half + (half >> 8)) >> 8;
}

function fromPixels(source: Extract<ImageSource, { kind: "pixels" }>): RgbImage {
  const { width, height, channels, data } = source;
  if (width < 1 || height < 1 || data.length !== width * height * channels) {
    throw new UserError(
      `Expected ${width}×${height}×${channels} = ${width * height * channels} bytes for the pixels of an image ` +
        `but received ${data.length}`,
    );
  }
  return spread({ width, height, channels, data });
}

function checkSize(image: RgbImage): RgbImage {
  if (image.width * image.height > pixelLimit) throw new UnreadableImage(tooLarge);
  return image;
}

const tooLarge = `more than ${pixelLimit} pixels (a decompression bomb?)`;

/** Number of components of a JPEG by its frame header; undefined for other files. */
function jpegComponents(bytes: Uint8Array): number | undefined {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return undefined;
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff;) {
    const marker = bytes[at + 1]!;
    const frame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (frame) return bytes[at + 9];
    at += 2 + bytes[at + 2]! * 256 + bytes[at + 3]!;
  }
  return undefined;
}

function asDecodeError(error: unknown, where: string, bytes: Uint8Array): unknown {
  if (error instanceof UserError) return error;
  const received = error instanceof UnreadableImage ? error.message : wordsFor(messageOf(error), bytes);
  return new UserError(`Expected an image for ${where} but received ${received}`, {
    hint: "Replace or remove the file, or leave out bad images with --on-bad-image skip.",
    cause: error,
  });
}

/** What libvips complains about, in our words. */
function wordsFor(complaint: string, bytes: Uint8Array): string {
  if (/pixel limit|image size|too large|exceeds/i.test(complaint)) return tooLarge;
  if (/unsupported image format/i.test(complaint)) {
    const start = [...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    return `a file of no image format that is known here (${bytes.length} bytes that begin with ${start})`;
  }
  const reason = complaint.trim().split("\n")[0]!;
  if (/premature|truncat|eof|end of|not enough|read error|unexpected end/i.test(complaint)) {
    return `a truncated file: its data end before the image does (${reason})`;
  }
  return `a broken file (${reason})`;
}
