import { openNpy } from "./npy-file.js";
import type { NpyFile } from "./npy-file.js";

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

/**
 * Reads single rows out of many `.npy` files, one after another, by positioned reads.
 *
 * @param options.order where row `i` stands in the files taken together; as it is where undefined.
 */
export function npyRows(options: { files: RowFile[]; width: number; open: OpenFiles; order?: Uint32Array }): RowReader {
  const { files, width, open, order } = options;
  const starts = new Float64Array(files.length + 1);
  files.forEach(({ rows }, i) => (starts[i + 1] = starts[i]! + rows));
  return {
    read: async (rows) => {
      const into = new Float32Array(rows.length * width);
      const reads: Promise<void>[] = [];
      for (let i = 0; i < rows.length;) {
        const first = order ? order[rows[i]!]! : rows[i]!;
        const index = lastAtMost(starts, first);
        // Neighbours in the file that are neighbours in the batch are read at once.
        let count = 1;
        const more = () => (order ? order[rows[i + count]!] : rows[i + count]) === first + count;
        while (i + count < rows.length && first + count < starts[index + 1]! && more()) count++;
        const range = { start: first - starts[index]!, count, into, at: i * width };
        reads.push(open.use(files[index]!, (npy) => npy.readFloats(range)));
        i += count;
      }
      await settled(reads);
      return into;
    },
  };
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

  constructor(private readonly most = 128) {}

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
    await this.trim(0);
  }

  private async open({ file, check }: RowFile): Promise<NpyFile> {
    if (check && !this.checked.has(file)) await check();
    this.checked.add(file);
    return openNpy(file);
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
