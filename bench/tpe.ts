/**
 * Studies of ours beside Optuna's on ten functions: the best value after 30 trials, over seeds.
 *
 *     node dist/bench/tpe.js [--python python3] [--seeds 100] [--first-seed 0] [--trials 30] [--batch 1]
 *                            [--functions sphere,Branin]
 *
 * Ten trials are asked for at once, then `--batch` together. Of a noisy function the value counts that the trial of the
 * best told value has without the noise. The tests are two-sided, of whether both programs' values come from one
 * distribution; Holm's correction is over the functions. Times are the processor's, for asking and telling one trial.
 */
import { parseArgs } from "node:util";

import { holm } from "../lib/metrics/paired.js";
import { random } from "../lib/random.js";
import { between } from "../lib/search/range.js";
import { openStudy } from "../lib/search/study.js";
import { openPeer, type Peer } from "./peer.js";
import { type TestFunction, testFunctions } from "./test-functions.js";

/** Runs one study a seed, all in step. */
interface Searcher {
  /** Tells what the trials of the last batch came to, and asks for the next. Shape of all: [seeds, trials of a batch]. */
  next(values: number[][], count: number): Promise<Record<string, number>[][]>;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      python: { type: "string", default: "python3" },
      seeds: { type: "string", default: "100" },
      "first-seed": { type: "string", default: "0" },
      trials: { type: "string", default: "30" },
      batch: { type: "string", default: "1" },
      functions: { type: "string", default: Object.keys(testFunctions).join() },
    },
  });
  const seeds = Array.from({ length: Number(values.seeds) }, (_, i) => Number(values["first-seed"]) + i);
  const [trials, batch] = [Number(values.trials), Number(values.batch)];
  const peer = openPeer({ python: values.python, script: "tpe.py", args: [] });
  console.log(await peer.next());
  console.log(`best of ${trials} trials in batches of ${batch}: quartiles over seeds ${seeds[0]} to ${seeds.at(-1)}`);
  console.log(
    `${"".padEnd(16)}${"ours".padEnd(27)}${"Optuna's".padEnd(27)}${"random".padEnd(9)}Mann–Whitney  Kolmogorov–Smirnov`,
  );
  const found: { p: number; name: string }[] = [];
  let clock = 0;
  for (const name of values.functions.split(",")) {
    const one = testFunctions[name]!;
    const run = (searcher: Searcher) => bests({ one, searcher, seeds, trials, batch });
    const before = process.cpuUsage();
    const ours = await run(openOurs(one, seeds));
    const { user, system } = process.cpuUsage(before);
    clock += (user + system) / 1000;
    const optunas = await run(await openOptunas(one, seeds, peer));
    const drawn = await run(openRandom(one, seeds));
    const [mannWhitney, kolmogorovSmirnov] = JSON.parse(
      await peer.ask(JSON.stringify({ compare: [ours, optunas] })),
    ) as number[];
    found.push({ name, p: mannWhitney! });
    console.log(
      `${name.padEnd(16)}${quartiles(ours)}${quartiles(optunas)}${quantile(drawn, 0.5).toPrecision(4).padEnd(9)}` +
        `${mannWhitney!.toFixed(3).padStart(12)}  ${kolmogorovSmirnov!.toFixed(3).padStart(18)}`,
    );
  }
  const corrected = holm(found.map(({ p }) => p));
  console.log(`smallest p of Mann–Whitney after Holm's correction: ${Math.min(...corrected).toFixed(3)}`);
  const all = found.length * seeds.length * trials;
  const { processor } = JSON.parse(await peer.ask(JSON.stringify({ time: true }))) as { processor: number };
  console.log(`a trial: ours ${(clock / all).toFixed(2)} ms, Optuna's ${((1000 * processor) / all).toFixed(2)} ms`);
  peer.end();
}

/** For each seed the value of the trial that seemed best. */
async function bests(options: {
  one: TestFunction;
  searcher: Searcher;
  seeds: number[];
  trials: number;
  batch: number;
}): Promise<number[]> {
  const { one, searcher, seeds, trials, batch } = options;
  const names = Object.keys(one.space);
  const best = seeds.map(() => ({ told: Infinity, value: Infinity }));
  let told: number[][] = seeds.map(() => []);
  for (let done = 0; done < trials;) {
    const count = Math.min(done === 0 ? 10 : batch, trials - done);
    const asked = await searcher.next(told, count);
    told = asked.map((own, i) =>
      own.map((parameters, j) => {
        const value = one.valueOf(names.map((name) => parameters[name]!));
        const seen = one.told?.(value, seeds[i]!, done + j) ?? value;
        if (seen < best[i]!.told) best[i] = { told: seen, value };
        return seen;
      }),
    );
    done += count;
  }
  return best.map(({ value }) => value);
}

function openOurs({ space }: TestFunction, seeds: number[]): Searcher {
  const studies = seeds.map((seed) => openStudy({ space, goal: "minimize", seed }));
  return {
    next: async (values, count) =>
      studies.map((study, i) => {
        const first = study.trials.length - values[i]!.length;
        study.tell(values[i]!.map((value, j) => ({ number: first + j, value })));
        return study.ask(count).map(({ parameters }) => parameters);
      }),
  };
}

async function openOptunas({ space }: TestFunction, seeds: number[], peer: Peer): Promise<Searcher> {
  await peer.ask(JSON.stringify({ space, seeds }));
  return {
    next: async (values, count) =>
      JSON.parse(await peer.ask(JSON.stringify({ values, count }))) as Record<string, number>[][],
  };
}

function openRandom({ space }: TestFunction, seeds: number[]): Searcher {
  const streams = seeds.map((seed) => random(seed, "random search"));
  const draw = (i: number) =>
    Object.fromEntries(Object.entries(space).map(([name, range]) => [name, between(range, streams[i]!.uniform())]));
  return { next: async (_, count) => seeds.map((_seed, i) => Array.from({ length: count }, () => draw(i))) };
}

function quantile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const low = sorted[Math.floor(place)]!;
  return low + (sorted[Math.ceil(place)]! - low) * (place % 1);
}

const quartiles = (values: number[]) =>
  [0.25, 0.5, 0.75].map((share) => quantile(values, share).toPrecision(4).padEnd(9)).join("");

void main();
