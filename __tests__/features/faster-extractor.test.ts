import { fasterExtractor } from "../../lib/features/faster-extractor.js";
import type { FeatureExtractor, PixelBatch } from "../../lib/features/feature-extractor.js";

const batchSize = 4;
/** Milliseconds. */
let clock: number;
beforeEach(() => {
  clock = 0;
  jest.spyOn(performance, "now").mockImplementation(() => clock);
});
afterEach(() => jest.restoreAllMocks());

interface Fake extends FeatureExtractor {
  /** First numbers of the batches that came. */
  came: number[];
  closed: boolean;
}

/** Takes so many milliseconds a batch, and gives each image's first number plus `error`. */
function fake(processes: number, milliseconds: number, error = 0): Fake {
  return {
    atOnce: processes === 1 ? 1 : 2 * processes,
    processes,
    threads: 2 / processes,
    execution: "session",
    came: [],
    closed: false,
    async extract({ pixels }) {
      this.came.push(pixels[0]!);
      const features = { layer: pixels.map((value) => value + error) };
      await Promise.resolve();
      clock += milliseconds;
      return features;
    },
    close() {
      this.closed = true;
    },
  };
}

/** Passes batches as extraction does: into one memory, which is written anew as soon as it may be. */
async function pass(options: { here: Fake; start: () => Promise<Fake>; expected?: number; sizes?: number[] }) {
  const { expected = 10_000, sizes = Array<number>(60).fill(batchSize), ...rest } = options;
  const notes: string[] = [];
  const here = { ...rest.here, extract: (batch: PixelBatch) => rest.here.extract(batch) };
  const extractor = fasterExtractor({ ...rest, here, batches: expected, batchSize, note: (text) => void notes.push(text) }); // prettier-ignore
  const memory = new Float32Array(batchSize);
  const begun: Promise<Record<string, Float32Array>>[] = [];
  const came: number[] = [];
  const write = async () => void came.push((await begun.shift()!).layer![0]!);
  for (const [i, size] of sizes.entries()) {
    memory.fill(i);
    begun.push(extractor.extract({ pixels: memory.subarray(0, size), shape: [size, 1, 1, 1] }));
    while (begun.length >= extractor.atOnce) await write();
    memory.fill(-1);
  }
  while (begun.length > 0) await write();
  const { processes, threads } = extractor;
  extractor.close();
  return { came, notes, processes, threads };
}

const inOrder = Array.from({ length: 60 }, (_, i) => i);

test("several processes that are faster get all batches after two turns each", async () => {
  const [here, others] = [fake(1, 500), fake(2, 300)];
  const { came, notes, ...rest } = await pass({ here, start: () => Promise.resolve(others) });
  expect(came).toEqual(inOrder);
  expect(rest).toEqual({ processes: 2, threads: 1 });
  expect(notes).toEqual(["2 processes of 1 thread pass images through the backbone: 8.0 images/s in one process of 2 threads, 13.3 images/s in 2 processes of 1 thread"]); // prettier-ignore
  // The third batch is compared, by each of two processes.
  expect(here.came).toEqual([0, 1, 2, 7, 8, 9, 10, 15, 16, 17, 18]);
  expect(others.came).toEqual([2, 2, 3, 4, 5, 6, 11, 12, 13, 14, ...inOrder.slice(19)]);
  expect(others.closed).toBe(true);
});

test.each([500, 490])("one process goes on where others take %i ms instead of 500", async (milliseconds) => {
  const [here, others] = [fake(1, 500), fake(2, milliseconds)];
  const { came, notes, ...rest } = await pass({ here, start: () => Promise.resolve(others) });
  expect(came).toEqual(inOrder);
  expect(rest).toEqual({ processes: 1, threads: 2 });
  expect(notes).toEqual([expect.stringMatching(/^one process of 2 threads passes images through the backbone: 8\.0 images\/s in one process of 2 threads, 8\.\d images\/s in 2 processes of 1 thread$/)]); // prettier-ignore
  expect(others.came).toHaveLength(10);
  expect(others.closed).toBe(true);
});

test("others whose features differ in the last bit are not used, however fast", async () => {
  const [here, others] = [fake(1, 500), fake(2, 1, 2 ** -18)];
  const { came, notes, processes } = await pass({ here, start: () => Promise.resolve(others) });
  expect(came).toEqual(inOrder);
  expect(notes).toEqual(["one process of 2 threads passes images through the backbone: the last bits of features differ in 2 processes of 1 thread"]); // prettier-ignore
  expect([processes, others.came, others.closed]).toEqual([1, [2, 2], true]);
});

test("batches with fewer images, which were not compared, stay here", async () => {
  const [here, others] = [fake(1, 500), fake(2, 300)];
  const sizes = inOrder.map((i) => (i === 2 || i % 10 === 5 ? 3 : batchSize));
  const { came, processes } = await pass({ here, start: () => Promise.resolve(others), sizes });
  expect(came).toEqual(inOrder);
  expect(processes).toBe(2);
  expect(others.came.slice(0, 2)).toEqual([3, 3]);
  expect(others.came.filter((i) => sizes[i] !== batchSize)).toEqual([]);
});

test("nothing is started for less than a minute of work", async () => {
  const start = jest.fn(() => Promise.resolve(fake(2, 1)));
  const { came, notes } = await pass({ here: fake(1, 500), start, expected: 121 });
  expect(came).toEqual(inOrder);
  expect([start.mock.calls, notes]).toEqual([[], []]);
});

test("one process goes on where others do not start, or end while they are compared", async () => {
  const dying = fake(2, 300);
  dying.extract = () => Promise.reject(new Error("it ended"));
  for (const [start, why] of [
    [() => Promise.reject(new Error("no memory")), "others did not start (no memory)"],
    [() => Promise.resolve(dying), "it ended"],
  ] as const) {
    const { came, notes } = await pass({ here: fake(1, 500), start });
    expect(came).toEqual(inOrder);
    expect(notes).toEqual([`one process of 2 threads passes images through the backbone: ${why}`]);
  }
  expect(dying.closed).toBe(true);
});

test("others that start after the end are ended", async () => {
  const others = fake(2, 300);
  let started: (one: Fake) => void = () => undefined;
  await pass({ here: fake(1, 500), start: () => new Promise((resolve) => (started = resolve)) });
  started(others);
  await Promise.resolve();
  await Promise.resolve();
  expect(others.closed).toBe(true);
});
