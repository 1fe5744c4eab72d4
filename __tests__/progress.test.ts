import { PassThrough } from "node:stream";

import { bytes, counted, duration, terminalProgress } from "../lib/progress.js";

test.each([
  [0, "0 s"],
  [59.4, "59 s"],
  [59.6, "1 min 0 s"],
  [200, "3 min 20 s"],
  [7_500, "2 h 5 min"],
  [-3, "0 s"],
])("%d seconds are %s", (seconds, text) => expect(duration(seconds)).toBe(text));

test.each([
  [999, "999 B"],
  [1000, "1.0 kB"],
  [17_040_000, "17.0 MB"],
  [2e15, "2000.0 TB"],
])("%d bytes are %s", (count, text) => expect(bytes(count)).toBe(text));

test.each([
  [1, "image", "1 image"],
  [0, "image", "0 images"],
  [20, "job", "20 jobs"],
  [2, "process", "2 processes"],
  [1, "class", "1 class"],
])("%d of %s are %s", (count, noun, text) => expect(counted(count, noun)).toBe(text));

describe("where no terminal is", () => {
  const start = Date.parse("2026-01-01");
  const written = (work: (progress: ReturnType<typeof terminalProgress>) => void): string[] => {
    const stream = new PassThrough();
    work(terminalProgress({ stream: stream as unknown as NodeJS.WriteStream, everySeconds: 10 }));
    return String(stream.read() ?? "").split("\n").slice(0, -1); // prettier-ignore
  };
  beforeEach(() => jest.useFakeTimers({ now: start }));
  afterEach(() => jest.useRealTimers());
  const at = (seconds: number) => jest.setSystemTime(start + 1000 * seconds);

  test("a line is written every ten seconds and at the end, with rate, time left and state", () => {
    const found = written((progress) => {
      progress.note("Reading");
      const task = progress.task({ label: "extract", total: 400, unit: "images" });
      for (const second of [4, 8, 12, 16, 20, 24]) {
        at(second);
        task.advance(40, `loss ${second}`);
      }
      at(40);
      task.advance(160);
      task.end();
    });
    expect(found).toEqual([
      "Reading",
      "extract: 120/400 images (30 %), 10/s, 28 s left, loss 12",
      "extract: 240/400 images (60 %), 10/s, 16 s left, loss 24",
      "extract: 400/400 images (100 %), 10/s",
    ]);
  });

  test("work that is broken off tells how far it came, and empty work that it is done", () => {
    const brokenOff = written((progress) => {
      const task = progress.task({ label: "train", total: 10, unit: "steps" });
      at(2);
      task.advance(4);
      task.end();
    });
    expect(brokenOff).toEqual(["train: 4/10 steps (40 %), 2.0/s, 3 s left"]);
    const empty = written((progress) => progress.task({ label: "merge", total: 0, unit: "rows" }).end());
    expect(empty).toEqual(["merge: 0/0 rows (100 %), 0.0/s"]);
  });
});

test("a terminal has a bar that ends with its task", () => {
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 100, cursorTo: () => true, clearLine: () => true }); // prettier-ignore
  const task = terminalProgress({ stream: stream as unknown as NodeJS.WriteStream }).task({ label: "extract", total: 4, unit: "images" }); // prettier-ignore
  task.advance(4, "loss 1");
  task.end();
  const drawn = String(stream.read());
  expect(drawn).toContain("extract ");
  expect(drawn).toContain("4/4 images");
});
