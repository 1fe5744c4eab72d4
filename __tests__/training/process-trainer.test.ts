import { spawn } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { prepareBackend } from "../../lib/backend/backend.js";
import { UserError } from "../../lib/errors.js";
import type { TrainingParts } from "../../lib/training/job.js";
import { openTrainer } from "../../lib/training/open-trainer.js";
import { processTrainer, startProcesses, type TrainingProcess } from "../../lib/training/process-trainer.js";
import type { EpochReport, Trainer } from "../../lib/training/trainer.js";
import { cloudStore } from "../clouds.js";
import { device, temporaryFolder } from "../command-line.js";
import { root as project } from "../golden.js";
import { childrenOf, untilGone } from "../processes.js";
import { bnFc, commonJob, expectWeights, fc, mlp, partsOf, trained, trial } from "./jobs.js";

jest.setTimeout(120_000);

const root = temporaryFolder();
let parts: TrainingParts;
let processes: TrainingProcess[];

const trainersOf = (parent: number) => childrenOf(parent, "trainer-process.js");

const trials = [0.01, 0.03, 0.1, 0.3, 3e38].map((lr) => trial(lr));
const candidates = trials.map((one, t) => ({ trial: one, batchSize: t % 2 ? 16 : 32 }));
const plan = {
  ...commonJob,
  heads: [
    candidates.map((one) => ({ ...one, spec: fc })),
    candidates.map((one) => ({ ...one, spec: bnFc })),
    [{ spec: mlp(8), trial: trial(0.1), batchSize: 16 }],
  ],
};
const job = { ...commonJob, batchSize: 32, heads: [{ spec: fc, trials }] };

beforeAll(async () => {
  await prepareBackend({ device });
  parts = partsOf({
    train: await cloudStore({ root, split: "train", images: 150, seed: 1 }),
    test: await cloudStore({ root, split: "test", images: 70, seed: 2 }),
  });
  processes = await startProcesses({ count: 2, device });
});
afterAll(async () => {
  processes.forEach((one) => one.end());
  await parts.train.source.close();
  await parts.report.source.close();
  await untilGone(trainersOf(process.pid));
});

test("gives what a training in this process gives, and leaves no tensor here", async () => {
  const here = await openTrainer({ plan, parts, processes: [] });
  const wanted = await trained(here);
  const wantedTrials = [[2], [3, 0], [0]];
  const same = await here.judge({ part: "report", wanted: wantedTrials });
  const before = tf.memory().numTensors;
  const there = await openTrainer({ plan, parts, processes });
  let steps = 0;
  const reports: EpochReport[] = [];
  await there.train({ onSteps: (count) => (steps += count), onEpoch: (report) => reports.push(report) });
  expect(steps).toBe(there.steps);
  expect(reports.map(({ epoch }) => epoch)).toEqual(wanted.map(({ epoch }) => epoch));
  expect(reports.flatMap(({ diverged }) => diverged)).toHaveLength(2 * 2);
  expect(await there.diverged()).toEqual(await here.diverged());

  const [found, expected] = [(await there.scores()).flat(2), (await here.scores()).flat(2)];
  expect(found.map(({ metric }) => metric)).toEqual(expected.map(({ metric }) => metric));
  found.forEach(({ loss }, i) => {
    if (Number.isFinite(expected[i]!.loss)) expect(loss).toBeCloseTo(expected[i]!.loss, 5);
  });
  for (const [head, candidatesOf] of plan.heads.entries()) {
    for (let t = 0; t < Math.min(4, candidatesOf.length); t++) {
      const place = { seed: 1, head, trial: t };
      expectWeights(await there.weights(place), await here.weights(place), 1e-5);
    }
  }
  const judged = await there.judge({ part: "report", wanted: wantedTrials });
  judged.flat(2).forEach((judgement, i) => {
    const other = same.flat(2)[i]!;
    if (judgement.kind !== "single" || other.kind !== "single") throw new Error("one label an image");
    expect([...judgement.predicted]).toEqual([...other.predicted]);
  });
  await there.close();
  expect(tf.memory().numTensors).toBe(before);
  await here.close();
});

test("that is stopped saves what it has, and taken up gives the same bits", async () => {
  const undisturbed = await openTrainer({ plan, parts, processes });
  const wanted = await trained(undisturbed);
  const checkpoint = { file: path.join(root, "saved.safetensors"), key: "1", every: 1 };

  const stop = new AbortController();
  const stopped = await openTrainer({ plan, parts, processes });
  const onEpoch = () => stop.abort(new Error("stopped by a signal"));
  await expect(stopped.train({ checkpoint, signal: stop.signal, onEpoch })).rejects.toThrow("stopped by a signal");
  await stopped.close();
  // One file for each share of the bank that was being trained.
  const names = (await fs.readdir(root)).filter((name) => name.startsWith("saved"));
  expect(names.sort()).toEqual(["saved.safetensors.0.0", "saved.safetensors.0.1"]);

  const resumed = await openTrainer({ plan, parts, processes });
  const positions: unknown[] = [];
  const reports: EpochReport[] = [];
  await resumed.train({
    checkpoint,
    onResume: (position) => positions.push(position),
    onEpoch: (report) => reports.push(report),
  });
  expect(positions).toHaveLength(2);
  expect(reports).toEqual(wanted);
  for (const [head, candidatesOf] of plan.heads.entries()) {
    for (const t of candidatesOf.keys()) {
      const place = { seed: 0, head, trial: t };
      expectWeights(await resumed.weights(place), await undisturbed.weights(place), 0);
    }
  }
  expect(await resumed.scores()).toEqual(await undisturbed.scores());
  await undisturbed.close();
  await resumed.close();

  // Where trials are divided otherwise, nothing of it fits, even where all shapes do.
  const turned = { ...plan, heads: plan.heads.map((ofHead) => [...ofHead].reverse()) };
  const other = await openTrainer({ plan: { ...turned, heads: turned.heads.slice(0, 1) }, parts, processes });
  await other.train({ checkpoint, onResume: () => positions.push("again") });
  expect(positions).toHaveLength(2);
  await other.close();
});

test("a listener that throws stops the training, and its error arrives", async () => {
  const trainer = await processTrainer({ on: processes[0]!, job: { ...job, epochs: 100_000 }, parts });
  const onEpoch = () => {
    throw new UserError("Expected room on the disk");
  };
  await expect(trainer.train({ onEpoch })).rejects.toThrow("Expected room on the disk");
  await trainer.close();
});

test("a mistake of the user's stays one, with its advice; a defect keeps its stack", async () => {
  const damaged = await cloudStore({ root, split: "val", images: 70, seed: 3 });
  const shard = path.join(damaged.stored!.folder, "deep.global_avg", "00000.npy");
  const folders = await fs.readdir(damaged.stored!.folder);
  expect(folders).toContain("deep.global_avg");
  const bytes = await fs.readFile(shard);
  bytes[bytes.length - 2]! ^= 1;
  await fs.writeFile(shard, bytes);
  const bad = { ...parts, train: { source: damaged, rows: Uint32Array.from({ length: 70 }, (_, row) => row) } };
  const trainer = await processTrainer({ on: processes[0]!, job, parts: bad });
  const error = await trainer.train({}).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UserError);
  expect((error as UserError).message).toMatch(/Expected a shard of features as written .* but the file was changed/);
  expect((error as UserError).hint).toMatch(/Delete .*00000\.npy/);
  await damaged.close();

  const defect = await trainer.weights({ seed: 0, head: 7, trial: 0 }).catch((thrown: unknown) => thrown);
  expect(defect).toBeInstanceOf(Error);
  expect(defect).not.toBeInstanceOf(UserError);
  expect((defect as Error).stack).toContain("bank");
  await trainer.close();
});

test("a process that is killed is told in one sentence, and the others stop", async () => {
  const before = trainersOf(process.pid);
  const two = await startProcesses({ count: 2, device });
  const [victim, ...others] = trainersOf(process.pid).filter((pid) => !before.includes(pid));
  expect(others).toHaveLength(1);
  const long = { ...plan, epochs: 100_000 };
  const trainer: Trainer = await openTrainer({ plan: long, parts, processes: two });
  const onEpoch = ({ epoch }: EpochReport) => {
    if (epoch === 2) process.kill(victim!, "SIGKILL");
  };
  const error = await trainer.train({ onEpoch }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UserError);
  expect((error as UserError).message).toBe("Expected a training process to finish but it ended (SIGKILL)");
  expect((error as UserError).hint).toContain("--processes 1");
  await expect(trainer.scores()).rejects.toThrow("it ended (SIGKILL)");
  two.forEach((one) => one.end());
  await untilGone([victim!, ...others]);
});

test("end with the process that started them, also where that is killed", async () => {
  const program = path.join(project, "dist", "__tests__", "training", "start-processes.js");
  const parent = spawn(process.execPath, [program, device], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => parent.stdout.once("data", resolve));
  const children = trainersOf(parent.pid!);
  expect(children).toHaveLength(2);
  parent.kill("SIGKILL");
  await untilGone(children);
});
