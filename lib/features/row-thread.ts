import path from "node:path";
import { Worker } from "node:worker_threads";

/** Rows in the order of the result. */
export interface RowRequest {
  id: number;
  /** In bytes. */
  rows: { file: string; position: number; length: number }[];
  /** Numbers in all rows. */
  items: number;
  /** Of float16; else of float32. */
  half: boolean;
}

export interface RowAnswer {
  id: number;
  /** undefined where something could not be read. */
  values?: Float32Array;
}

/** Reads scattered rows of files in a thread of its own, so that nobody waits who computes meanwhile. */
export class RowThread {
  private worker?: Worker;
  private readonly waiting = new Map<
    number,
    { resolve: (answer: RowAnswer) => void; reject: (error: Error) => void }
  >();
  private asked = 0;

  /** @returns undefined where something could not be read. */
  async read(request: Omit<RowRequest, "id">): Promise<Float32Array | undefined> {
    const worker = (this.worker ??= this.start());
    const id = this.asked++;
    worker.ref();
    try {
      const { values } = await new Promise<RowAnswer>((resolve, reject) => {
        this.waiting.set(id, { resolve, reject });
        worker.postMessage({ id, ...request } satisfies RowRequest);
      });
      return values;
    } finally {
      this.waiting.delete(id);
      // An idle thread keeps no program alive.
      if (this.waiting.size === 0) worker.unref();
    }
  }

  async close(): Promise<void> {
    await this.worker?.terminate();
    this.worker = undefined;
  }

  private start(): Worker {
    const worker = new Worker(path.join(__dirname, "row-thread-worker.js"));
    worker.on("message", (answer: RowAnswer) => this.waiting.get(answer.id)?.resolve(answer));
    worker.on("error", (error) => this.waiting.forEach(({ reject }) => reject(error)));
    return worker;
  }
}
