import { readSync } from "node:fs";

import { damaged } from "./bytes.js";

const chunkBytes = 1 << 16;

/** Reads a file from a position on, a few bytes at a time; never past its end, and never more than is there. */
export class ByteReader {
  private chunk: Uint8Array = new Uint8Array(0);
  private chunkStart = 0;

  private constructor(
    readonly file: string,
    readonly size: number,
    private readonly load: (position: number, length: number) => Uint8Array,
    public position = 0,
  ) {}

  static ofBytes(file: string, bytes: Uint8Array): ByteReader {
    return new ByteReader(file, bytes.length, (position, length) => bytes.subarray(position, position + length));
  }

  static ofFile(file: string, descriptor: number, size: number): ByteReader {
    return new ByteReader(file, size, (position, length) => {
      const bytes = new Uint8Array(length);
      const read = readSync(descriptor, bytes, 0, length, position);
      return bytes.subarray(0, read);
    });
  }

  get remaining(): number {
    return this.size - this.position;
  }

  byte(): number {
    const at = this.position - this.chunkStart;
    if (at >= 0 && at < this.chunk.length) {
      this.position++;
      return this.chunk[at]!;
    }
    return this.bytes(1)[0]!;
  }

  /** The next `length` bytes; not to be written to. */
  bytes(length: number): Uint8Array {
    if (length > this.remaining) {
      throw damaged(this.file, `it ends at byte ${this.size}, where ${length} more bytes were announced`);
    }
    let at = this.position - this.chunkStart;
    if (at < 0 || at + length > this.chunk.length) {
      this.chunk = this.load(this.position, Math.min(this.remaining, Math.max(length, chunkBytes)));
      this.chunkStart = this.position;
      at = 0;
      if (this.chunk.length < length) throw damaged(this.file, "it became shorter while it was read");
    }
    this.position += length;
    return this.chunk.subarray(at, at + length);
  }

  view(length: number): DataView {
    const bytes = this.bytes(length);
    return new DataView(bytes.buffer, bytes.byteOffset, length);
  }

  skip(length: number): void {
    if (length > this.remaining) {
      throw damaged(this.file, `it ends at byte ${this.size}, where ${length} more bytes were announced`);
    }
    this.position += length;
  }

  /** Text up to the next newline, which is consumed; at most `longest` characters. Latin-1. */
  line(longest = 1 << 16): string {
    let text = "";
    for (;;) {
      const byte = this.byte();
      if (byte === 10) return text;
      if (text.length === longest) throw damaged(this.file, `a line is longer than ${longest} characters`);
      text += String.fromCharCode(byte);
    }
  }
}
