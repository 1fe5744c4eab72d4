import { openNpy } from "./npy-file.js";
import type { NpyFile } from "./npy-file.js";
import type { NpyHeader } from "./npy.js";
import { RowThread } from "./row-thread.js";

/** Rows of one layer, wherever they are kept. */
export interface RowReader {
  /** The given rows, in the given order. float32 [rows, width]. */
  read(rows: Uint32Array): Promise<Float32Array>;
}

/** One of the `.npy` files that hold a layer. */
export interface RowFile {
  file: string;
  rows: number;
  /** Called before the file is first opened; throws where its content is not as it should be. */
  check?: () => Promise<void>;
}

/** Pieces of a batch from which on they are read by a thread. */
const scattered = 16;

/**
 * Reads single rows out of many `.npy` files, one after another, by positioned reads.
 *
 * @param options.order where row `i` stands in the files taken together; as it is where undefined.
 */
export function npyRows(options: { files: RowFile[]; width: number; open: OpenFiles; order?: Uint32Array }): RowReader {
  const { files, width, open, order } = options;
  const starts = new Float64Array(files.length + 1);
  files.forEach(({ rows }, i) => (starts[i + 1] = starts[i]! + rows));
  /** Neighbours in the file that are neighbours in the batch are read at once. */
  const rangesOf = (rows: Uint32Array): RowRange[] => {
    const ranges: RowRange[] = [];
    for (let i = 0; i < rows.length;) {
      const first = order ? order[rows[i]!]! : rows[i]!;
      const index = lastAtMost(starts, first);
      let count = 1;
      const more = () => (order ? order[rows[i + count]!] : rows[i + count]) === first + count;
      while (i + count < rows.length && first + count < starts[index + 1]! && more()) count++;
      ranges.push({ file: files[index]!, start: first - starts[index]!, count });
      i += count;
    }
    return ranges;
  };
  return {
    read: async (rows) => {
      const ranges = rangesOf(rows);
      const read = ranges.length < scattered ? undefined : await open.readScattered(ranges, width);
      if (read) return read;
      const into = new Float32Array(rows.length * width);
      let at = 0;
      await settled(
        ranges.map(({ file, start, count }) => {
          const range = { start, count, into, at };
          at += count * width;
          return open.use(file, (npy) => npy.readFloats(range));
        }),
      );
      return into;
    },
  };
}

/** Some rows of one file. */
interface RowRange {
  file: RowFile;
  start: number;
  count: number;
}

/** Waits for all, also where one fails, so that nothing is read after an error was told. */
async function settled(reads: Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(reads)) if (result.status === "rejected") throw result.reason;
}

/** The largest index whose start is at most `row`, of files that are not empty. */
function lastAtMost(starts: Float64Array, row: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (starts[middle]! <= row) low = middle;
    else high = middle;
  }
  return low;
}

/** Files kept open between reads, at most `most` of them while they are idle. */
export class OpenFiles {
  private readonly entries = new Map<string, { opening: Promise<NpyFile>; users: number }>();
  private readonly checked = new Set<string>();
  private readonly headers = new Map<string, Pick<NpyHeader, "dtype" | "offset" | "itemBytes">>();
  private readonly thread = new RowThread();

  constructor(private readonly most = 128) {}

  /**
   * Rows of files of float32 or float16, in the order of the ranges, read by a thread.
   *
   * @param width numbers a row.
   * @returns undefined where the files hold something else, or cannot be read: `use` then tells why.
   * @throws what the check of a file throws.
   */
  async readScattered(ranges: RowRange[], width: number): Promise<Float32Array | undefined> {
    for (const { file } of ranges) if (!this.headers.has(file.file)) await this.use(file, () => Promise.resolve());
    const { dtype } = this.headers.get(ranges[0]!.file.file)!;
    const headers = ranges.map(({ file }) => this.headers.get(file.file)!);
    if (!(dtype === "float32" || dtype === "float16") || headers.some((other) => other.dtype !== dtype))
      return undefined;
    const rows = ranges.map(({ file, start, count }, i) => {
      const { offset, itemBytes } = headers[i]!;
      const rowBytes = width * itemBytes;
      return { file: file.file, position: offset + start * rowBytes, length: count * rowBytes };
    });
    const items = ranges.reduce((sum, { count }) => sum + count * width, 0);
    return this.thread.read({ rows, items, half: dtype === "float16" });
  }

  async use<T>(wanted: RowFile, work: (npy: NpyFile) => Promise<T>): Promise<T> {
    const { file } = wanted;
    const entry = this.entries.get(file) ?? { opening: this.open(wanted), users: 0 };
    // The one used last stands last.
    this.entries.delete(file);
    this.entries.set(file, entry);
    entry.users++;
    try {
      return await work(await entry.opening);
    } finally {
      entry.users--;
      await this.trim(this.most);
    }
  }

  async close(): Promise<void> {
    await this.thread.close();
    await this.trim(0);
  }

  private async open({ file, check }: RowFile): Promise<NpyFile> {
    if (check && !this.checked.has(file)) await check();
    this.checked.add(file);
    const npy = await openNpy(file);
    const { dtype, offset, itemBytes } = npy;
    this.headers.set(file, { dtype, offset, itemBytes });
    return npy;
  }

  private async trim(most: number): Promise<void> {
    for (const [file, { opening, users }] of this.entries) {
      if (this.entries.size <= most) return;
      if (users > 0) continue;
      this.entries.delete(file);
      await opening.then(
        (npy) => npy.close(),
        () => undefined,
      );
    }
  }
}
