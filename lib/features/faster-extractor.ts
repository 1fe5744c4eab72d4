import { messageOf } from "../errors.js";
import { counted } from "../progress.js";
import type { FeatureExtractor, PixelBatch } from "./feature-extractor.js";

/** Seconds of work from which it is worth to start others and to measure: each needs seconds to start. */
const leastSeconds = 60;
/** Seconds of a turn, at least. */
const turnSeconds = 1;
/** How much faster others must be to be taken: they need memory. */
const leastGain = 1.05;

export interface FasterExtractorOptions {
  here: FeatureExtractor;
  /** Starts those that work side by side. */
  start: () => Promise<FeatureExtractor>;
  /** Batches that will come, and images of each that is whole. */
  batches: number;
  batchSize: number;
  /** Told once what was found. */
  note: (text: string) => void;
}

type Extract = FeatureExtractor["extract"];

/**
 * Extracts by whoever is faster, one process or several side by side: that is measured on the first batches, two turns
 * each, reading of images included, where there is a minute of work or more. All batches that pass here count; only one
 * of them passes through both.
 *
 * That one decides first whether others are used at all. Their features must be equal to the bit: so results do not
 * depend on what was measured, and a run that goes on writes what an undisturbed one does. What was not compared,
 * batches with fewer images, stays in this process.
 */
export function fasterExtractor(options: FasterExtractorOptions): FeatureExtractor {
  const { here, start, batches, batchSize, note } = options;
  let using = here;
  let others: FeatureExtractor | undefined;
  let closed = false;
  let extract: Extract;
  const passHere: Extract = (batch) => here.extract(batch);

  const stay = (why?: string) => {
    others?.close();
    others = undefined;
    using = here;
    extract = passHere;
    if (why !== undefined && !closed) note(`${nameOf(here)} passes images through the backbone: ${why}`);
  };

  /** Others get batches as large as the one that was compared; the memory of pixels is not theirs for longer. */
  const byOthers = ({ pixels, shape }: PixelBatch) =>
    shape[0] === batchSize ? others!.extract({ pixels, shape }) : here.extract({ pixels: pixels.slice(), shape });

  // The first batch opens the backbone, the second tells how much work there is.
  const warmUp: Extract = (batch) => {
    extract = estimate;
    return passHere(batch);
  };
  const estimate: Extract = async (batch) => {
    const begun = performance.now();
    const features = await here.extract(batch);
    const seconds = (performance.now() - begun) / 1000;
    if (batch.shape[0] === 0) return features;
    if (seconds * (batches - 2) < leastSeconds) stay();
    else openOthers(seconds);
    return features;
  };

  /** While others start, batches pass here. */
  const openOthers = (secondsOfBatch: number) => {
    extract = passHere;
    const opened = (extractor: FeatureExtractor) => {
      others = extractor;
      if (closed) others.close();
      else extract = compare(secondsOfBatch);
    };
    start().then(opened, (error: unknown) => stay(`others did not start (${messageOf(error)})`));
  };
  const compare =
    (secondsOfBatch: number): Extract =>
    async (batch) => {
      const features = await here.extract(batch);
      if (batch.shape[0] !== batchSize) return features;
      try {
        // One each, which also warms them up.
        const theirs = await Promise.all(Array.from({ length: others!.processes }, () => others!.extract(batch)));
        if (theirs.every((other) => isSame(other, features))) measure(secondsOfBatch);
        else stay(`the last bits of features differ in ${nameOf(others!)}`);
      } catch (error) {
        stay(messageOf(error));
      }
      return features;
    };

  /** Turns of as many batches, the others' first. One ends when the next begins, with nothing under way. */
  const measure = (secondsOfBatch: number) => {
    const { processes } = others!;
    const length = processes * Math.max(2, Math.ceil(turnSeconds / secondsOfBatch / processes));
    const turns = [others!, here, others!, here];
    const seconds = new Map([here, others!].map((one) => [one, 0]));
    let [turn, given, begun] = [0, 0, performance.now()];
    let underWay: Promise<unknown>[] = [];
    const endTurn = () => {
      const now = performance.now();
      seconds.set(turns[turn]!, seconds.get(turns[turn]!)! + (now - begun) / 1000);
      [turn, given, begun, underWay] = [turn + 1, 0, now, []];
    };
    const send = (batch: PixelBatch) => {
      given++;
      const features = using === here ? here.extract(batch) : byOthers(batch);
      underWay.push(features.catch(() => undefined));
      return features;
    };
    using = others!;
    extract = async (batch) => {
      if (given < length) return send(batch);
      if (using === here) {
        endTurn();
        using = others!;
        if (turn < turns.length) return send(batch);
        choose(seconds, 2 * length * batchSize);
        return extract(batch);
      }
      using = here;
      await Promise.all(underWay);
      endTurn();
      return send(batch);
    };
  };
  const choose = (seconds: Map<FeatureExtractor, number>, images: number) => {
    const rate = (one: FeatureExtractor) => images / seconds.get(one)!;
    const told = (one: FeatureExtractor) => `${rate(one).toFixed(1)} images/s`;
    const beside = `${told(here)} in ${nameOf(here)}, ${told(others!)} in ${nameOf(others!)}`;
    if (rate(others!) < leastGain * rate(here)) return stay(beside);
    extract = byOthers;
    note(`${nameOf(others!)} pass images through the backbone: ${beside}`);
  };

  extract = warmUp;
  return {
    get atOnce() {
      return using.atOnce;
    },
    get processes() {
      return using.processes;
    },
    get threads() {
      return using.threads;
    },
    get execution() {
      return using.execution;
    },
    extract: (batch) => extract(batch),
    close: () => {
      closed = true;
      others?.close();
    },
  };
}

function nameOf({ processes, threads }: FeatureExtractor): string {
  const each = counted(threads, "thread");
  return processes === 1 ? `one process of ${each}` : `${processes} processes of ${each}`;
}

function isSame(one: Record<string, Float32Array>, other: Record<string, Float32Array>): boolean {
  return Object.entries(one).every(([name, values]) => bytesOf(values).equals(bytesOf(other[name]!)));
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
