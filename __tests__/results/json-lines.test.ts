import { appendFileSync, readFileSync } from "node:fs";
import path from "node:path";

import { openJsonLines } from "../../lib/results/json-lines.js";
import { temporaryFolder } from "../command-line.js";

interface Line {
  epoch: number;
  layer: string;
}

describe("a file of JSON lines", () => {
  const folder = temporaryFolder();
  const file = path.join(folder, "metrics.jsonl");
  const write = (lines: Line[], stays?: (line: Line) => boolean) => {
    const log = openJsonLines<Line>({ file, stays });
    log.append(lines);
    log.close();
  };
  const epochs = [1, 2, 3].map((epoch) => ["Schicht-ä", "b"].map((layer) => ({ epoch, layer })));

  test("gives back what was written; what is not finite is null", () => {
    write([
      { epoch: 1, layer: "a" },
      { epoch: NaN, layer: "b" },
    ]);
    expect(readFileSync(file, "utf8")).toBe('{"epoch":1,"layer":"a"}\n{"epoch":null,"layer":"b"}\n');
  });

  test("a run that goes on writes the bytes of one that was never stopped", () => {
    write(epochs.flat());
    const whole = readFileSync(file, "utf8");
    write(epochs.slice(0, 2).flat());
    appendFileSync(file, JSON.stringify(epochs[2]![0]).slice(0, 10));
    write(epochs.slice(1).flat(), ({ epoch }) => epoch <= 1);
    expect(readFileSync(file, "utf8")).toBe(whole);
  });

  test("a run from the beginning forgets what was there", () => {
    write(epochs.flat());
    write([{ epoch: 7, layer: "c" }]);
    expect(readFileSync(file, "utf8")).toBe('{"epoch":7,"layer":"c"}\n');
  });

  test("a place that cannot be written to is told", () => {
    appendFileSync(path.join(folder, "a file"), "");
    expect(() => openJsonLines({ file: path.join(folder, "a file", "metrics.jsonl") })).toThrow(/^Expected /);
  });
});
