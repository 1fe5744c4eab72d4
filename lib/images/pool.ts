import path from "node:path";
import { Worker } from "node:worker_threads";

import { UserError } from "../errors.js";
import type { ImageSource } from "./image.js";
import { imageFiller, type FillJob, type FillerOptions, type FillResult } from "./pipeline-worker.js";

/** Threads that write transformed images into one shared piece of memory. */
export interface ImagePool {
  /** Room for `places` images, one behind the other. */
  values: Float32Array;
  /** Fills places; resolves to what is wrong with each image, undefined where nothing is. */
  fill(images: Omit<FillJob, "source">[]): Promise<(string | undefined)[]>;
  close(): Promise<void>;
}

export interface PoolOptions extends Omit<FillerOptions, "values"> {
  source: (row: number) => ImageSource | Promise<ImageSource>;
  workers: number;
  places: number;
}

/** Images that a worker has at a time: one is decoded by sharp's threads while another is resized by the worker. */
const inFlight = 2;

export function openPool({ source, workers, places, ...settings }: PoolOptions): ImagePool {
  const shared = new SharedArrayBuffer(places * settings.valuesPerImage * Float32Array.BYTES_PER_ELEMENT);
  const values = new Float32Array(shared);
  const filler = { ...settings, values };
  const threads = workers === 0 ? [inline(filler)] : Array.from({ length: workers }, () => thread(filler));
  const waiting: { image: Omit<FillJob, "source">; done: (reason?: string) => void; failed: (error: Error) => void }[] =
    [];
  let broken: Error | undefined;

  const work = (worker: PoolThread) => {
    while (worker.busy < inFlight && waiting.length > 0) {
      const { image, done, failed } = waiting.shift()!;
      worker.busy++;
      Promise.resolve()
        .then(() => source(image.row))
        .then((opened) => worker.run({ ...image, source: opened }))
        .then(({ reason, defect }) => {
          if (defect !== undefined) throw defect;
          done(reason);
        })
        .catch((error: unknown) => {
          if (error instanceof UserError) return done(error.message);
          failed((broken = asError(error)));
        })
        .finally(() => {
          worker.busy--;
          work(worker);
        });
    }
  };

  return {
    values,
    fill: (images) => {
      if (broken !== undefined) return Promise.reject(broken);
      const results = images.map(
        (image) => new Promise<string | undefined>((done, failed) => waiting.push({ image, done, failed })),
      );
      threads.forEach(work);
      return Promise.all(results);
    },
    close: async () => {
      waiting.length = 0;
      await Promise.all(threads.map((worker) => worker.close()));
    },
  };
}

interface PoolThread {
  busy: number;
  run(job: FillJob): Promise<FillResult>;
  close(): Promise<unknown>;
}

function inline(options: FillerOptions): PoolThread {
  const open = new Set<Promise<FillResult>>();
  const fill = imageFiller(options);
  return {
    busy: 0,
    run: (job) => {
      const result = fill(job);
      open.add(result);
      return result.finally(() => open.delete(result));
    },
    close: () => Promise.allSettled(open),
  };
}

function thread(options: FillerOptions): PoolThread {
  const worker = new Worker(path.join(__dirname, "pipeline-worker.js"), { workerData: options });
  const open = new Map<number, { result: Promise<FillResult>; done: (result: FillResult) => void }>();
  worker.on("message", (result: FillResult) => {
    open.get(result.place)?.done(result);
    open.delete(result.place);
  });
  const end = (defect: Error) => {
    for (const [place, { done }] of open) done({ place, defect });
    open.clear();
  };
  worker.on("error", end);
  worker.on("exit", (code) => end(new Error(`A worker thread for images ended with code ${code}`)));
  return {
    busy: 0,
    run: (job) => {
      let done!: (result: FillResult) => void;
      const result = new Promise<FillResult>((resolve) => (done = resolve));
      open.set(job.place, { result, done });
      const { source, moved } = movable(job.source);
      worker.postMessage({ ...job, source }, moved);
      return result;
    },
    close: async () => {
      // sharp's own threads may still hold the worker's memory.
      await Promise.all([...open.values()].map(({ result }) => result));
      await worker.terminate();
    },
  };
}

/** A copy of the image alone: sending a view of an archive would send the whole archive. */
function movable(source: ImageSource): { source: ImageSource; moved: ArrayBuffer[] } {
  if ("path" in source) return { source, moved: [] };
  const copy = new Uint8Array(source.kind === "bytes" ? source.bytes : source.data);
  return source.kind === "bytes"
    ? { source: { ...source, bytes: copy }, moved: [copy.buffer] }
    : { source: { ...source, data: copy }, moved: [copy.buffer] };
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
