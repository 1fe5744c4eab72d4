import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { openTrialsLog, readTrialsLog, type TrialLine } from "../../lib/results/trials-log.js";

function line(change: Partial<TrialLine> = {}): TrialLine {
  return {
    id: 0,
    layer: "block4",
    head: "fc",
    setting: { lr: 0.1, weightDecay: 0 },
    seeds: [0, 1],
    rung: 0,
    epochs: 2,
    curve: [
      { epoch: 1, loss: [1.5, null] },
      { epoch: 2, loss: [1.25, 1.5], selection: [0.5, 0.75] },
    ],
    diverged: false,
    selection: 0.625,
    ...change,
  };
}

describe("trials.jsonl", () => {
  let folder: string;
  let file: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), "trials-"));
    file = path.join(folder, "trials.jsonl");
  });
  afterEach(() => rm(folder, { recursive: true }));

  const write = (rungs: number, lines: TrialLine[]) => {
    const log = openTrialsLog({ file, rungs });
    log.append(lines);
    log.close();
  };

  test("gives back what was written", async () => {
    const lines = [line(), line({ id: 1, diverged: true, selection: null })];
    write(0, lines);
    expect(await readTrialsLog(file)).toEqual(lines);
  });

  test("a run that goes on after a rung writes the bytes of one that was never stopped", async () => {
    const rungs = [0, 1, 2].map((rung) => [0, 1].map((id) => line({ id, rung, layer: "Schicht-ä" })));
    write(0, rungs.flat());
    const whole = await readFile(file, "utf8");
    write(0, rungs.slice(0, 2).flat());
    await appendFile(file, JSON.stringify(line({ rung: 2 })).slice(0, 40));
    write(1, rungs.slice(1).flat());
    expect(await readFile(file, "utf8")).toBe(whole);
  });

  test("a run from the beginning forgets what was there", async () => {
    write(0, [line(), line()]);
    write(0, [line({ id: 7 })]);
    expect(await readTrialsLog(file)).toEqual([line({ id: 7 })]);
  });

  test.each([
    ["a line cut off", JSON.stringify(line()), "Expected a whole last line in"],
    ["no JSON", "{}x\n", "Expected JSON for line 1 of"],
    [
      "another value",
      `${JSON.stringify(line())}\n${JSON.stringify({ ...line(), rung: -1 })}\n`,
      "for rung in line 2 of",
    ],
    ["a key that is not known", `${JSON.stringify({ ...line(), x: 1 })}\n`, "Expected only known keys for line 1 of"],
    [
      "a curve without loss",
      `${JSON.stringify({ ...line(), curve: [{ epoch: 1 }] })}\n`,
      "for curve[0].loss in line 1 of",
    ],
    ["no object", "3\n", "Expected object for line 1 of"],
  ])("refuses %s", async (_, text, message) => {
    await writeFile(file, text);
    await expect(readTrialsLog(file)).rejects.toThrow(message);
    await expect(readTrialsLog(file)).rejects.toMatchObject({ name: "UserError" });
  });

  test("refuses a file that is not there, to read and to write", async () => {
    await expect(readTrialsLog(file)).rejects.toThrow("the trials of a run");
    expect(() => openTrialsLog({ file: path.join(folder, "none", "trials.jsonl"), rungs: 0 })).toThrow();
  });

  test("refuses to go on after lines that are damaged", async () => {
    await writeFile(file, "oops\n");
    expect(() => openTrialsLog({ file, rungs: 1 })).toThrow("Expected JSON for line 1 of");
  });
});
