import { roundHalfToEven } from "./rounding.js";
import { UnreadableImage } from "./unreadable.js";
import type { RgbImage } from "./image.js";

/** Whether a file is PBM, PGM or PPM, in text (P1 … P3) or binary (P4 … P6). */
export function isNetpbm(bytes: Uint8Array): boolean {
  return bytes[0] === 0x50 && bytes[1]! >= 0x31 && bytes[1]! <= 0x36 && isSpace(bytes[2]!);
}

/**
 * Reads PBM, PGM or PPM as PIL does: samples are scaled from 0 … maxval to 0 … 255.
 *
 * @throws UnreadableImage where the header is no header or the data end early.
 */
export function readNetpbm(bytes: Uint8Array): RgbImage {
  const kind = bytes[1]! - 0x30;
  const bitmap = kind === 1 || kind === 4;
  const channels = kind === 3 || kind === 6 ? 3 : 1;
  let at = 2;
  const number = () => {
    for (;;) {
      while (isSpace(bytes[at]!)) at++;
      if (bytes[at] !== 0x23) break;
      while (at < bytes.length && bytes[at] !== 0x0a) at++;
    }
    const start = at;
    let value = 0;
    while (bytes[at]! >= 0x30 && bytes[at]! <= 0x39) value = value * 10 + bytes[at++]! - 0x30;
    if (at === start) throw new UnreadableImage("a truncated Netpbm file: a number is missing");
    return value;
  };
  const [width, height] = [number(), number()];
  const most = bitmap ? 1 : number();
  if (width < 1 || height < 1 || most < 1 || most > 65535) {
    throw new UnreadableImage(`a Netpbm file of ${width}×${height} pixels with samples up to ${most}`);
  }
  const next = kind <= 3 ? textSamples() : binarySamples();
  const data = new Uint8Array(width * height * 3);
  // PIL reads deep grey as 16 bits, and clips these where they become RGB.
  const white = channels === 1 && most > 255 ? 65535 : 255;
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 3) {
      for (let c = 0; c < 3; c++) data[to + c] = c < channels ? level(next(x)) : data[to]!;
    }
  }
  return { width, height, data };

  function level(sample: number): number {
    if (bitmap) return sample ? 0 : 255;
    if (sample > most && kind <= 3) {
      throw new UnreadableImage(`a Netpbm file with a sample of ${sample} where at most ${most} may be`);
    }
    return Math.min(255, roundHalfToEven((sample / most) * white));
  }

  function textSamples(): () => number {
    if (width * height * channels > bytes.length) {
      throw new UnreadableImage(`a truncated Netpbm file: ${bytes.length} bytes for ${width}×${height} pixels`);
    }
    // Bits of a P1 need no space between them.
    if (!bitmap) return number;
    return () => {
      while (isSpace(bytes[at]!)) at++;
      const bit = bytes[at++]! - 0x30;
      if (bit !== 0 && bit !== 1) throw new UnreadableImage("a truncated Netpbm file: a bit is missing");
      return bit;
    };
  }

  function binarySamples(): (x: number) => number {
    at++;
    const size = bitmap ? Math.ceil(width / 8) * height : width * height * channels * (most > 255 ? 2 : 1);
    if (bytes.length - at < size) {
      throw new UnreadableImage(`a truncated Netpbm file: ${bytes.length - at} of ${size} bytes of pixels`);
    }
    if (bitmap) {
      return (x) => {
        const bit = (bytes[at]! >> (7 - (x & 7))) & 1;
        if ((x & 7) === 7 || x === width - 1) at++;
        return bit;
      };
    }
    return most > 255 ? () => bytes[at++]! * 256 + bytes[at++]! : () => bytes[at++]!;
  }
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}
