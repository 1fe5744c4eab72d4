import type { ZipRecord } from "../zip/directory.js";

/** An 8-bit RGB image as PIL's `convert("RGB")` gives it: rows from the top, three interleaved channels. */
export interface RgbImage {
  /** Columns, at least 1. */
  width: number;
  /** Rows, at least 1. */
  height: number;
  /** Length height × width × 3, in R, G, B order. */
  data: Uint8Array;
}

/** Where an image comes from; plain data, so that it can be sent to a worker thread. */
export type ImageSource =
  /** An encoded file on disk. */
  | { kind: "file"; path: string }
  /** An encoded file inside another: `length` bytes from `offset` on (in a tar archive). */
  | { kind: "range"; path: string; offset: number; length: number }
  /** An encoded file in a zip archive, as the archive's directory tells of it (`lib/zip/directory.ts`). */
  | ({ kind: "zip"; path: string } & Omit<ZipRecord, "name">)
  /** An encoded file in memory (from an archive, a table, a request). */
  | { kind: "bytes"; bytes: Uint8Array }
  /** Decoded pixels, 3 interleaved channels (CIFAR) or 1 (MNIST). */
  | { kind: "pixels"; width: number; height: number; channels: 1 | 3; data: Uint8Array };
