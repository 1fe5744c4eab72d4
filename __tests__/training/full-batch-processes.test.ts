import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { openStoredSource } from "../../lib/features/stored-source.js";
import type { Candidate } from "../../lib/training/open-trainer.js";
import { openTrainer } from "../../lib/training/open-trainer.js";
import { startProcesses } from "../../lib/training/process-trainer.js";
import type { EpochReport } from "../../lib/training/trainer.js";
import { describeOnBackends } from "../backends.js";
import { extract, layers } from "../features/synthetic.js";
import { headOn, jobOf, trialOf } from "./full-batch-data.js";

describeOnBackends("full-batch training in several processes", ({ device }) => {
  test("tells and finds what one process does, also where a process has more heads than another", async () => {
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), "full-batch-"));
    const store = await extract(folder);
    const source = await openStoredSource({ store, layers: layers.map(({ name }) => name) });
    const part = { source, rows: Uint32Array.from({ length: 120 }, (_, row) => row) };
    const of = (trials: Candidate["trial"][], shape: number[], name: string) =>
      trials.map((trial): Candidate => ({ spec: headOn(shape, { name, layer: name, reads: [name] }), trial }));
    const plan = {
      ...jobOf([], { classes: 7, epochs: 5 }),
      heads: [of([trialOf(0.01), trialOf(0.1), trialOf(0.3)], [5], "res5avg"), of([trialOf(0.1)], [3, 2, 2], "res4")],
    };
    const processes = await startProcesses({ count: 2, device });
    const run = async (own: typeof processes) => {
      const parts = { train: part, select: part, report: part };
      const trainer = await openTrainer({ plan, parts, processes: own });
      const reports: EpochReport[] = [];
      await trainer.train({ onEpoch: (report) => reports.push(report) });
      const scores = await trainer.scores();
      await trainer.close();
      // The last loss of each trial, and how often it was told.
      const curves = plan.heads.map((trials, h) =>
        trials.map((_, t) => reports.flatMap(({ losses }) => losses[0]![h]![t] ?? [])),
      );
      return { scores, curves };
    };
    try {
      const [apart, here] = [await run(processes), await run([])];
      here.curves.forEach((ofHead, h) =>
        ofHead.forEach((curve, t) => {
          expect(curve).toHaveLength(5);
          curve.forEach((loss, e) => expect(apart.curves[h]![t]![e]).toBeCloseTo(loss, 4));
          expect(apart.scores[0]![h]![t]!.loss).toBeCloseTo(here.scores[0]![h]![t]!.loss, 4);
        }),
      );
    } finally {
      processes.forEach((one) => one.end());
      await source.close();
      await fs.rm(folder, { recursive: true });
    }
  });
});
