/**
 * CoG's logistic regression on made features (see class-features.ts), beside a PyTorch program written by the protocol:
 *
 *     node dist/bench/cog.js search [--images 8000] [--width 256] [--classes 200] [--epochs 100] [--python python3]
 *     node dist/bench/cog.js steps [--images 4096] [--width 2048] [--classes 1000]
 *     node dist/bench/cog.js few-shot [--shots 1,2,4,8,16] [--width 2048] [--classes 1000]
 *     node dist/bench/cog.js stream [--images 50000] [--width 2048] [--classes 1000]
 *
 * - search: 30 trials and the final training, by ours as published (TPE), by halving, and by L-BFGS along a path of
 *   penalties, with the final accuracies.
 * - steps: a step of 30 trials of batch 1,024, ours in one bank, the peer's one after the other.
 * - few-shot: one seed of each N by L-BFGS, chosen on 5,000 other images, beside 31 trainings of the peer, of which
 *   some steps are measured.
 * - stream: L-BFGS at one penalty on features that every pass reads from disk. It has no peer.
 *
 * Times are those of the processor, which other work on the machine disturbs least; `--threads` are those of either
 * program, one unless it is told.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { prepareBackend } from "../lib/backend/backend.js";
import { arraySource } from "../lib/features/array-source.js";
import { openStore } from "../lib/features/store.js";
import { openStoredSource } from "../lib/features/stored-source.js";
import { linearHead } from "../lib/heads/head.js";
import { memoryRows } from "../lib/logistic/memory-rows.js";
import { openLogisticPath } from "../lib/logistic/path.js";
import { trainLogisticPath } from "../lib/logistic/train-path.js";
import { ranks, topKAccuracy } from "../lib/metrics/top-k.js";
import type { Schedule } from "../lib/optim/schedule.js";
import { bytes } from "../lib/progress.js";
import { random } from "../lib/random.js";
import { type CandidateScore, halve } from "../lib/search/halving.js";
import { planHalving } from "../lib/search/rungs.js";
import { between } from "../lib/search/range.js";
import { openStudy, roundSize } from "../lib/search/study.js";
import { LinearSvm } from "../lib/svm/linear-svm.js";
import { bankTrainer } from "../lib/training/bank-trainer.js";
import { stepOverhead } from "../lib/training/cost.js";
import { featureRows } from "../lib/training/feature-rows.js";
import type { Part } from "../lib/training/job.js";
import type { Trainer } from "../lib/training/trainer.js";
import { type ClassFeatures, classFeatures } from "./class-features.js";
import { forgetPeak, peakOf } from "./memory.js";
import { openPeer, type Peer } from "./peer.js";
import { randomStore } from "./random-store.js";

interface Sizes {
  images: number;
  width: number;
  classes: number;
  epochs: number;
}

/** CoG's. */
const [trials, batchSize, seed] = [30, 1024, 22];
const space = {
  lr: { from: 1e-1, to: 1e2, scale: "log" },
  weightDecay: { from: 1e-12, to: 1e-4, scale: "log" },
} as const;

/** Three a decade; the path ends for what gets worse twice. */
const penalties = Array.from({ length: 19 }, (_, i) => 10 ** (-3 - i / 3));

interface Setting {
  lr: number;
  weightDecay: number;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      images: { type: "string" },
      width: { type: "string" },
      classes: { type: "string" },
      epochs: { type: "string", default: "100" },
      shots: { type: "string", default: "1,2,4,8,16" },
      noise: { type: "string", default: "2.5" },
      python: { type: "string", default: "python3" },
      threads: { type: "string", default: "1" },
    },
  });
  const [what = "search"] = positionals;
  const small = what === "search";
  const shots = values.shots.split(",").map(Number);
  const classes = Number(values.classes ?? (small ? 200 : 1000));
  const fewest = what === "few-shot" ? classes * Math.max(...shots) : 4096;
  const sizes = {
    images: Number(values.images ?? (small ? 8000 : fewest)),
    width: Number(values.width ?? (small ? 256 : 2048)),
    classes,
    epochs: Number(values.epochs),
  };
  const threads = Number(values.threads);
  await prepareBackend({ device: "native", threads: what === "stream" ? undefined : threads });
  if (what === "stream") return stream({ ...sizes, images: Number(values.images ?? 50_000) });
  const noise = Number(values.noise);
  const made = (part: string, count: number) => classFeatures({ ...sizes, count, part, noise });
  const [train, test] = [await made("train", sizes.images), await made("test", 5000)];
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "cog-"));
  try {
    const files = [train, test].flatMap(({ features, labels }, i) => {
      const own = [path.join(folder, `${i}.f32`), path.join(folder, `${i}.i32`)];
      fs.writeFileSync(own[0]!, features);
      fs.writeFileSync(own[1]!, labels);
      return own;
    });
    const peer = openPeer({ python: values.python, script: "cog.py", args: [...files, JSON.stringify({ ...sizes, threads })] }); // prettier-ignore
    const { images, width } = sizes;
    console.log(`${what}: ${images} × ${width}, ${classes} classes; ${await peer.next()}; load ${load()}`);
    if (what === "search") await search(sizes, train, test, peer);
    else if (what === "steps") await steps(sizes, train, peer);
    else await fewShot(sizes, { train, val: test }, shots, peer);
    peer.end();
    console.log(`load ${load()}`);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

const load = () => os.loadavg()[0]!.toFixed(1);

interface Measured<T> {
  found: T;
  cpu: number;
  memory: number;
}

async function measured<T>(work: () => Promise<T>): Promise<Measured<T>> {
  forgetPeak();
  const before = process.cpuUsage();
  const found = await work();
  const { user, system } = process.cpuUsage(before);
  return { found, cpu: (user + system) / 1e6, memory: peakOf() };
}

interface Answer {
  cpu: number;
  memory: number;
  accuracy: number;
  lr: number;
  wd: number;
}

async function ask(peer: Peer, question: Record<string, unknown>): Promise<Answer> {
  return JSON.parse(await peer.ask(JSON.stringify(question))) as Answer;
}

/** As CoG sets it: the cosine of an epoch when that epoch is over. */
function schedule(epochs: number): Schedule {
  const factor = (epoch: number) => (1 + Math.cos((Math.PI * Math.max(0, epoch - 1)) / epochs)) / 2;
  return { kind: "step", factors: Array.from({ length: epochs }, (_, epoch) => factor(epoch)) };
}

function trainerOf(
  sizes: Sizes,
  parts: { train: Part; select?: Part; report: Part },
  options: { settings: Setting[]; epochs?: number },
): Trainer {
  const { width, classes } = sizes;
  const { settings, epochs = sizes.epochs } = options;
  const optimizer = { kind: "sgd", momentum: 0.9, nesterov: false } as const;
  return bankTrainer({
    job: {
      heads: [
        {
          spec: linearHead({ layer: "features", shape: [width], name: "fc" }),
          trials: settings.map((setting) => ({ ...setting, optimizer, schedule: schedule(sizes.epochs) })),
        },
      ],
      seeds: [seed],
      classes,
      loss: { kind: "cross_entropy", labelSmoothing: 0 },
      regularised: { bias: true, norm: false },
      epochs,
      scheduleEpochs: sizes.epochs,
      batchSize: Math.min(batchSize, parts.train.rows.length),
    },
    parts,
  });
}

function sourceOf({ features, labels }: ClassFeatures, width: number) {
  return arraySource({ layers: { features: { shape: [width], data: features } }, targets: { kind: "single", labels } });
}

const everyRow = (count: number) => Uint32Array.from({ length: count }, (_, row) => row);

/** Of each class a fifth is held out. */
function heldOut(labels: Int32Array): Uint8Array {
  const held = new Uint8Array(labels.length);
  const byClass = new Map<number, number[]>();
  labels.forEach((label, row) => byClass.set(label, [...(byClass.get(label) ?? []), row]));
  for (const rows of byClass.values()) {
    const order = random(seed, "split", rows[0]!).permutation(rows.length);
    for (const i of order.subarray(rows.length - Math.floor(0.2 * rows.length))) held[rows[i]!] = 1;
  }
  return held;
}

async function search(sizes: Sizes, train: ClassFeatures, test: ClassFeatures, peer: Peer): Promise<void> {
  const { width, classes } = sizes;
  const [source, report] = [await sourceOf(train, width), await sourceOf(test, width)];
  const held = heldOut(train.labels);
  const all = everyRow(train.labels.length);
  const part = (rows: Uint32Array) => ({ source, rows });
  const testPart = { source: report, rows: everyRow(test.labels.length) };
  const searched = {
    train: part(all.filter((row) => !held[row])),
    select: part(all.filter((row) => held[row])),
    report: testPart,
  };

  const judged = async (settings: Setting[], epochs = sizes.epochs): Promise<CandidateScore[]> => {
    const trainer = trainerOf(sizes, searched, { settings, epochs });
    await trainer.train({});
    const [scores, diverged] = [await trainer.scores(), await trainer.diverged()];
    await trainer.close();
    return scores[0]![0]!.map(({ metric, loss }, i) => ({ score: metric, loss, diverged: diverged[0]![0]![i]! }));
  };
  const final = async (setting: Setting): Promise<number> => {
    const trainer = trainerOf(sizes, { train: part(all), report: testPart }, { settings: [setting] });
    await trainer.train({});
    const [[[judgement]]] = (await trainer.judge({ part: "report" })) as unknown as [[[{ ranks: Int32Array }]]];
    await trainer.close();
    return topKAccuracy(judgement.ranks, 1);
  };
  const byTpe = async () => {
    const study = openStudy({ space, goal: "maximize", seed });
    while (study.trials.length < trials) {
      const asked = study.ask(roundSize(study.trials.length));
      const settings = asked.map(({ parameters }) => ({ lr: parameters.lr!, weightDecay: parameters.weightDecay! }));
      const scores = await judged(settings);
      study.tell(asked.map(({ number }, i) => ({ number, value: scores[i]!.diverged ? 0 : scores[i]!.score })));
    }
    const { lr, weightDecay } = study.best()!.parameters as unknown as Setting;
    return `${percent(await final({ lr, weightDecay }))}, lr ${lr.toPrecision(3)}, weight decay ${weightDecay.toExponential(1)}`;
  };
  const byHalving = async () => {
    const candidates = Array.from({ length: trials }, (_, i) => ({
      lr: between(space.lr, random(seed, "search", i, "lr").uniform()),
      weightDecay: between(space.weightDecay, random(seed, "search", i, "weightDecay").uniform()),
      optimizer: { kind: "sgd", momentum: 0.9, nesterov: false } as const,
      schedule: schedule(sizes.epochs),
    }));
    const trainer = trainerOf(sizes, searched, { settings: candidates });
    const overhead = stepOverhead({ ...trainer.job, heads: [candidates.map((trial) => ({ spec: trainer.job.heads[0]!.spec, trial, batchSize }))] }, searched.train.rows.length); // prettier-ignore
    await trainer.close();
    const { rungs } = planHalving({ candidates: trials, epochs: sizes.epochs, overhead });
    const { chosen } = await halve({
      heads: 1,
      candidates,
      rungs,
      evaluate: async ([own], { epochs, rateFactor }) => [
        await judged(
          own!.map((t) => ({
            lr: candidates[t]!.lr * rateFactor,
            weightDecay: candidates[t]!.weightDecay * rateFactor,
          })),
          epochs,
        ),
      ],
    });
    const { lr, weightDecay } = candidates[chosen[0]!]!;
    const told = rungs.map((rung) => `${rung.trials}×${rung.epochs}`).join(" ");
    return `${percent(await final({ lr, weightDecay }))}, lr ${lr.toPrecision(3)}, rungs ${told}`;
  };
  const byPath = async () => {
    const { weights, passes, penalty } = await fast(sizes, train, { held });
    const scores = await new LinearSvm(weights).decisionFunction({ rows: test.features });
    const accuracy = topKAccuracy(ranks({ scores, labels: test.labels, classes }), 1);
    return `${percent(accuracy)}, penalty ${penalty.toExponential(1)}, ${passes} passes`;
  };
  const published = await ask(peer, { what: "search", trials, seed });
  console.log(
    `PyTorch, ${trials} trials and the final training: ${published.cpu.toFixed(1)} s, peak memory ${bytes(published.memory)}; ` +
      `top-1 ${percent(published.accuracy)}, lr ${published.lr.toPrecision(3)}, weight decay ${published.wd.toExponential(1)}`,
  );
  for (const [name, work] of Object.entries({ "as published": byTpe, halving: byHalving, "L-BFGS": byPath })) {
    const { found, cpu, memory } = await measured(work);
    console.log(
      `ours, ${name}: ${cpu.toFixed(1)} s, ${(published.cpu / cpu).toFixed(1)} times faster, peak memory ${bytes(memory)}; top-1 ${found}`,
    );
  }
  await source.close();
  await report.close();
}

/** The penalty is chosen on what is held out of the rows, or on others; all rows go on from there. */
async function fast(
  { width, classes }: Sizes,
  { features, labels }: ClassFeatures,
  choice: { held: Uint8Array } | { val: ClassFeatures },
) {
  const rows = memoryRows({ features, width });
  const options = { rows, labels, classes };
  const other = "val" in choice ? choice.val : undefined;
  const { trials: followed, chosen } = await trainLogisticPath({
    ...options,
    ...("held" in choice && { parts: [choice.held.map((one) => 1 - one)] }),
    ...(other && { validation: { rows: memoryRows({ features: other.features, width }), labels: other.labels } }),
    penalties,
    patience: 2,
    tolerance: 1e-3,
  });
  const [best] = chosen;
  const path = await openLogisticPath(options);
  path.move(0, best!);
  const [weights] = await path.solve(best!.penalty);
  path.dispose();
  rows.dispose();
  const passes = followed[0]!.reduce((sum, { evaluations }) => sum + evaluations, 0) + weights!.evaluations;
  return { weights: weights!, passes, penalty: best!.penalty };
}

/** A step of 30 trials. */
async function steps(sizes: Sizes, train: ClassFeatures, peer: Peer): Promise<void> {
  const count = Math.floor(sizes.images / batchSize);
  const source = await sourceOf(train, sizes.width);
  const settings = Array.from({ length: trials }, (_, i) => ({ lr: 0.1 * (i + 1), weightDecay: 1e-6 }));
  const part = { source, rows: everyRow(count * batchSize) };
  const trainer = trainerOf(sizes, { train: part, report: part }, { settings });
  const rounds: number[][] = [[], []];
  // Some epochs of a whole training, for what is done once in one is done for all; the first warms it up.
  const enough = new AbortController();
  let before = process.cpuUsage();
  const onEpoch = () => {
    const { user, system } = process.cpuUsage(before);
    before = process.cpuUsage();
    rounds[0]!.push((user + system) / 1e6 / count);
    if (rounds[0]!.length === 4) enough.abort();
  };
  const own = await measured(() => trainer.train({ onEpoch, signal: enough.signal }).catch(() => {}));
  rounds[0]!.shift();
  for (let round = 0; round < 4; round++) {
    const other = await ask(peer, { what: "steps", steps: count, rows: count * batchSize });
    if (round > 0) rounds[1]!.push((trials * other.cpu) / count);
    if (round === 3) {
      const [ours, peers] = rounds.map((cpu) => cpu.reduce((a, b) => a + b) / cpu.length);
      const flops = 4e-9 * batchSize * sizes.width * sizes.classes * trials;
      console.log(
        `a step of ${trials} trials: ours ${ours!.toFixed(2)} s (${(flops / ours!).toFixed(0)} GFLOP/s a core), peak memory ${bytes(own.memory)}; ` +
          `PyTorch ${peers!.toFixed(2)} s (${(flops / peers!).toFixed(0)}), ${bytes(other.memory)}; ratio ${(peers! / ours!).toFixed(2)}`,
      );
    }
  }
  await trainer.close();
  await source.close();
}

/** One seed of each N. */
async function fewShot(
  sizes: Sizes,
  { train, val }: Record<"train" | "val", ClassFeatures>,
  shots: number[],
  peer: Peer,
): Promise<void> {
  const { classes, width, epochs } = sizes;
  const order = [...everyRow(train.labels.length)].sort((a, b) => train.labels[a]! - train.labels[b]!);
  let [ours, peers] = [0, 0];
  for (const n of shots) {
    const rows = Uint32Array.from(Array.from({ length: classes }, (_, c) => order.filter((row) => train.labels[row] === c).slice(0, n)).flat()); // prettier-ignore
    const drawn = {
      features: Float32Array.from({ length: rows.length * width }, (_, i) => train.features[rows[Math.floor(i / width)]! * width + (i % width)]!), // prettier-ignore
      labels: Int32Array.from(rows, (row) => train.labels[row]!),
    };
    const own = await measured(() => fast(sizes, drawn, { val }));
    const perEpoch = Math.ceil(rows.length / batchSize);
    const measuredSteps = Math.min(8, 4 * perEpoch);
    await ask(peer, { what: "steps", steps: 2, rows: rows.length });
    const other = await ask(peer, { what: "steps", steps: measuredSteps, rows: rows.length });
    const whole = (other.cpu / measuredSteps) * perEpoch * epochs * (trials + 1);
    ours += own.cpu;
    peers += whole;
    console.log(
      `N = ${n}: ours ${own.cpu.toFixed(1)} s, ${own.found.passes} passes, penalty ${own.found.penalty.toExponential(1)}, peak memory ${bytes(own.memory)}; ` +
        `PyTorch ${whole.toFixed(0)} s (${measuredSteps} steps measured); ratio ${(whole / own.cpu).toFixed(1)}`,
    );
  }
  console.log(`all: ours ${ours.toFixed(0)} s, PyTorch ${peers.toFixed(0)} s, ratio ${(peers / ours).toFixed(1)}`);
}

/** Features on disk, none of which are kept. */
async function stream({ images, width, classes }: Sizes): Promise<void> {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "cog-"));
  try {
    const layers = [{ name: "features", shape: [width] }];
    const folder = await randomStore({ root, layers, images, classes, precision: "float32" });
    const source = await openStoredSource({ store: await openStore({ folder }), residentBytes: 0 });
    if (source.targets.kind === "multi") throw new Error("The store has one label an image");
    const rows = featureRows({ source, rows: everyRow(images), layer: "features", normalize: true });
    const { labels } = source.targets;
    const { found, cpu, memory } = await measured(async () => {
      const followed = await openLogisticPath({ rows, labels, classes });
      const [solution] = await followed.solve(1e-4);
      followed.dispose();
      return solution!;
    });
    console.log(
      `stream: ${images} × ${width}, ${classes} classes, ${found.evaluations} passes and one for the second moment: ` +
        `${cpu.toFixed(1)} s, peak memory ${bytes(memory)}; load ${load()}`,
    );
    await source.close();
  } finally {
    fs.rmSync(root, { recursive: true });
  }
}

const percent = (fraction: number) => `${(100 * fraction).toFixed(2)} %`;

void main();
