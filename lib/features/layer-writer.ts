import fs from "node:fs/promises";
import path from "node:path";

import { UserError } from "../errors.js";
import { sha256OfFile, temporaryName } from "../files.js";
import { encodeItems, npyHeader, product } from "./npy.js";
import { shardFile } from "./store-format.js";
import type { StoreKey, StoredLayer } from "./store-format.js";
import type { RowRange } from "./store-part.js";

interface OpenShard {
  handle: fs.FileHandle;
  temporary: string;
  rows: number;
  position: number;
}

/**
 * Writes the shards of one layer, one after another: each to a temporary name, synced, renamed when it is whole. Holds
 * no features in memory.
 */
export class LayerWriter {
  private shard: OpenShard | undefined;

  constructor(
    /** Its `shards` grow as they become whole. */
    readonly layer: StoredLayer,
    private readonly options: { folder: string; precision: StoreKey["precision"]; range: RowRange },
  ) {}

  /** Whole shards cover the positions of the range up to this one. */
  get covered(): number {
    const { from, to } = this.options.range;
    return Math.min(from + this.layer.shards.length * this.layer.rowsPerShard, to);
  }

  /** Where the shard ends that is written now. */
  get boundary(): number {
    return Math.min(this.covered + this.layer.rowsPerShard, this.options.range.to);
  }

  /** @param values whole rows of the shard that is written now. */
  async write(values: Float32Array): Promise<void> {
    this.check(values);
    const shard = await this.open();
    await writeFully(shard.handle, encodeItems(this.options.precision, values), shard.position);
    shard.position += values.length * (this.options.precision === "float16" ? 2 : 4);
    shard.rows += values.length / product(this.layer.shape);
  }

  /** Makes the shard that is written now whole; it may hold no row. */
  async publish(): Promise<StoredLayer["shards"][number]> {
    const shard = await this.open();
    const file = this.file;
    await writeFully(shard.handle, this.header(shard.rows), 0);
    // The disk and the processor work at the same time.
    const [sha256] = await Promise.all([sha256OfFile(shard.temporary), shard.handle.sync()]);
    await shard.handle.close();
    this.shard = undefined;
    try {
      await fs.rename(shard.temporary, path.join(this.options.folder, this.layer.folder, file));
      const whole = { file, rows: shard.rows, sha256 };
      this.layer.shards.push(whole);
      return whole;
    } catch (error) {
      await fs.rm(shard.temporary, { force: true });
      throw error;
    }
  }

  /** Drops what is not whole. */
  async abort(): Promise<void> {
    const shard = this.shard;
    this.shard = undefined;
    await shard?.handle.close();
    if (shard) await fs.rm(shard.temporary, { force: true });
  }

  private async open(): Promise<OpenShard> {
    if (this.shard) return this.shard;
    const folder = path.join(this.options.folder, this.layer.folder);
    await fs.mkdir(folder, { recursive: true });
    const temporary = temporaryName(path.join(folder, this.file));
    const handle = await fs.open(temporary, "w");
    this.shard = { handle, temporary, rows: 0, position: this.header(0).length };
    return this.shard;
  }

  /** Of the shard that is written now, numbered from the beginning of the listing. */
  private get file(): string {
    return shardFile(this.options.range.from / this.layer.rowsPerShard + this.layer.shards.length);
  }

  /** Its length does not depend on the number of rows, so that it can be written last. */
  private header(rows: number): Uint8Array {
    return npyHeader({ dtype: this.options.precision, shape: [rows, ...this.layer.shape] });
  }

  private check(values: Float32Array): void {
    const limit = this.options.precision === "float16" ? 65520 : Infinity;
    let wrong = 0;
    while (wrong < values.length && Math.abs(values[wrong]!) < limit) wrong++;
    if (wrong === values.length) return;
    const value = values[wrong]!;
    const { precision } = this.options;
    if (!Number.isFinite(value)) {
      throw new UserError(`Expected finite features of layer ${this.layer.name} but received ${value}`, {
        hint: "Check the backbone's weights and its transform.",
      });
    }
    throw new UserError(`Expected features within ±65504 for ${precision} but layer ${this.layer.name} gave ${value}`, {
      hint: "Keep these features as float32.",
    });
  }
}

async function writeFully(handle: fs.FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
