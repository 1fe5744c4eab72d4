import * as tf from "@tensorflow/tfjs";

import { expected } from "../errors.js";
import type { Optimizer } from "./optimizer.js";
import type { LinePoint } from "./strong-wolfe.js";
import { strongWolfe } from "./strong-wolfe.js";

type Lbfgs = Extract<Optimizer, { kind: "lbfgs" }>;

export interface MinimiseOptions {
  /** Where the problems start: [K, P], not disposed here. */
  start: tf.Tensor2D;
  /**
   * Losses and gradients of all problems at once. The answer for a problem may depend on its own row alone.
   *
   * @param x [K, P], disposed here after the answer.
   * @param active which problems are asked; what is answered for others is not looked at.
   * @returns K losses, and the gradients [K, P], which are disposed here.
   */
  evaluate: (x: tf.Tensor2D, active: readonly boolean[]) => Promise<{ loss: ArrayLike<number>; gradient: tf.Tensor2D }>;
  /** Pairs of steps and gradient changes that each problem remembers. */
  history: number;
  lineSearch: Lbfgs["lineSearch"];
  maxIterations: number;
  /** Of each problem; ⌊1.25 · maxIterations⌋ where undefined. The line search under way ends first. */
  maxEvaluations?: number;
  /** The step to try first; without a line search, the step. Of all problems or one a problem; 1 where undefined. */
  lr?: number | readonly number[];
  /** What the first step is instead of min(1, 1/‖∇‖₁) · lr: 1 where the problem is scaled so that Newton's step would be. */
  firstStep?: number;
  /** A problem is solved where no entry of its gradient is above; 1e-7 where undefined. */
  toleranceGradient?: number;
  /** Or where the step promises to lower the loss, ½ ∇·H⁻¹·∇, by no more than this says of the loss. */
  toleranceDecrease?: (loss: number) => number;
  /** Or where no parameter, or the loss, changes by more in an iteration; 1e-9 where undefined. */
  toleranceChange?: number;
  /** What an earlier run was at (`onIteration`): it is taken up to the same bits. `start` tells the shape alone then. */
  from?: MinimiserState;
  /** After each iteration; the next begins when it resolves. */
  onIteration?: (iteration: Iteration) => Promise<void>;
}

export interface Iteration {
  problems: readonly Problem[];
  /** Where the problems are: [K, P]. Not to be disposed, nor kept. */
  x: tf.Tensor2D;
  state: () => Promise<MinimiserState>;
}

/** How far one problem is. */
export interface Problem {
  loss: number;
  /** Largest absolute entry of the gradient. */
  gradientNorm: number;
  iterations: number;
  evaluations: number;
  /** Why it rests; undefined while it goes on. */
  stopped?: "gradient" | "decrease" | "change" | "iterations" | "evaluations" | "not finite";
  /** Whether a tolerance was reached. */
  converged: boolean;
  /** What the last step promised to lower the loss by: ½ ∇·H⁻¹·∇. */
  decrease?: number;
  /** Of the initial inverse Hessian, s·y / y·y. */
  scale: number;
}

export interface MinimiserState {
  arrays: Record<string, { shape: number[]; data: Float32Array }>;
  problems: Problem[];
  /** 1/(s·y) of each remembered pair and problem, newest first; 0 where the problem has none there. */
  curvatures: number[][];
}

/** A remembered pair of all problems: [K, P] each. */
interface Pair {
  s: tf.Tensor2D;
  y: tf.Tensor2D;
  curvature: number[];
}

interface Place {
  x: tf.Tensor2D;
  gradient: tf.Tensor2D;
  /** Newest first. */
  pairs: Pair[];
  problems: Problem[];
}

/** Points that a line search tries, at most. */
const maxLineSteps = 25;
/** Less curvature along a step is not remembered. */
const leastCurvature = 1e-10;

/**
 * Minimises K independent functions of P parameters by L-BFGS, all at once: each problem has its own memory, step
 * length and end, and comes out as it would alone. One that has ended rests.
 *
 * Formulas, order of the tests and counts are those of torch.optim.LBFGS in one call of `step`. Only without a line
 * search the last point is evaluated too, so that what is told belongs to it.
 *
 * @returns the points [K, P], the caller's to dispose, and each problem's account.
 * @throws UserError where `from` is of other problems or a number is out of range.
 *
 * Source: Nocedal and Wright, Numerical Optimization, algorithm 7.4; torch.optim.LBFGS.
 */
export async function minimise(options: MinimiseOptions): Promise<{ x: tf.Tensor2D; problems: Problem[] }> {
  checkOptions(options);
  const { from, onIteration } = options;
  const place = from ? restored(from, options) : await begun(options);
  try {
    while (place.problems.some(({ stopped }) => !stopped)) {
      await iterate(place, options);
      await onIteration?.({ problems: structuredClone(place.problems), x: place.x, state: () => stateOf(place) });
    }
    return { x: place.x.clone(), problems: place.problems };
  } finally {
    tf.dispose([place.x, place.gradient, place.pairs.map(({ s, y }) => [s, y])]);
  }
}

async function begun({ start, evaluate, toleranceGradient = 1e-7 }: MinimiseOptions): Promise<Place> {
  const x = start.clone();
  try {
    const { loss, gradient } = await evaluate(x, new Array<boolean>(start.shape[0]).fill(true));
    const sizes = await read([tf.tidy(() => tf.max(tf.abs(gradient), 1))]);
    const problems = Array.from({ length: start.shape[0] }, (_, k): Problem => {
      const problem = { loss: loss[k]!, gradientNorm: sizes[k]!, iterations: 0, evaluations: 1, scale: 1 };
      if (!isFinite(problem.loss + problem.gradientNorm))
        return { ...problem, stopped: "not finite", converged: false };
      if (problem.gradientNorm <= toleranceGradient) return { ...problem, stopped: "gradient", converged: true };
      return { ...problem, converged: false };
    });
    return { x, gradient, pairs: [], problems };
  } catch (error) {
    x.dispose();
    throw error;
  }
}

async function iterate(place: Place, options: MinimiseOptions): Promise<void> {
  const { toleranceChange = 1e-9, toleranceDecrease, toleranceGradient = 1e-7, maxIterations } = options;
  const { maxEvaluations = Math.floor(maxIterations * 1.25) } = options;
  const { problems } = place;
  const count = problems.length;
  const d = tf.tidy(() => direction(place));
  try {
    const measures = await read(
      tf.tidy(() => [tf.sum(tf.mul(place.gradient, d), 1), tf.sum(tf.abs(place.gradient), 1), tf.max(tf.abs(d), 1)]),
    );
    const slopes = measures.subarray(0, count);
    const directionSizes = measures.subarray(2 * count);
    const searches = problems.map((problem, k) => {
      if (problem.stopped) return undefined;
      const slope = slopes[k]!;
      problem.decrease = -slope / 2;
      if (toleranceDecrease && problem.decrease <= toleranceDecrease(problem.loss)) {
        stop(problem, "decrease");
        return undefined;
      }
      const lr = rateOf(options, k);
      const first = options.firstStep ?? Math.min(1, 1 / measures[count + k]!) * lr;
      const t = problem.iterations === 0 ? first : lr;
      problem.iterations++;
      if (!isFinite(slope) || !isFinite(directionSizes[k]!)) stop(problem, "not finite");
      else if (slope > -toleranceChange) stop(problem, "change");
      if (problem.stopped) return undefined;
      const start: Point = { t: 0, f: problem.loss, slope, evaluation: 0 };
      const maxSteps = Math.min(maxLineSteps, maxEvaluations - problem.evaluations);
      if (options.lineSearch === "none") return fixedStep(t);
      return strongWolfe({ start, t, directionSize: directionSizes[k]!, toleranceChange, maxSteps });
    });
    if (!searches.some((search) => search)) return;
    const { points, gradient } = await searched(place, d, searches, options);
    const moved = tf.tidy(() => {
      const step = tf.mul<tf.Tensor2D>(d, column(points.map((point) => point?.t ?? 0)));
      const y = tf.sub<tf.Tensor2D>(gradient, place.gradient);
      const moving = points.map((point) => (point ? 1 : 0));
      return { x: rows([place.x, tf.add<tf.Tensor2D>(place.x, step)], moving), s: step, y };
    });
    const { s, y, x } = moved;
    tf.dispose([place.x, place.gradient]);
    Object.assign(place, { x, gradient });
    const after = await read(
      tf.tidy(() => [tf.sum(tf.mul(s, y), 1), tf.sum(tf.square(y), 1), tf.max(tf.abs(gradient), 1)]),
    );
    const curvature = points.map((point, k) => {
      const ys = after[k]!;
      if (!point || !(ys > leastCurvature)) return 0;
      problems[k]!.scale = ys / after[count + k]!;
      return 1 / ys;
    });
    remember(place, { s, y, curvature }, options.history);
    points.forEach((point, k) => {
      if (!point) return;
      const problem = problems[k]!;
      const change = Math.abs(point.f - problem.loss);
      problem.loss = point.f;
      problem.gradientNorm = after[2 * count + k]!;
      if (!isFinite(problem.loss + problem.gradientNorm)) stop(problem, "not finite");
      else if (problem.gradientNorm <= toleranceGradient) stop(problem, "gradient");
      else if (directionSizes[k]! * point.t <= toleranceChange || change < toleranceChange) stop(problem, "change");
      else if (problem.iterations >= maxIterations) stop(problem, "iterations");
      else if (problem.evaluations >= maxEvaluations) stop(problem, "evaluations");
    });
  } finally {
    d.dispose();
  }
}

function rateOf({ lr = 1 }: MinimiseOptions, k: number): number {
  return typeof lr === "number" ? lr : lr[k]!;
}

function stop(problem: Problem, why: NonNullable<Problem["stopped"]>): void {
  problem.stopped = why;
  problem.converged = why === "gradient" || why === "decrease" || why === "change";
}

/** −H·∇ by the two-loop recursion. A pair that a problem has not is of curvature 0, and does nothing to it. */
function direction({ gradient, pairs, problems }: Place): tf.Tensor2D {
  const dot = (a: tf.Tensor, b: tf.Tensor) => tf.sum(tf.mul(a, b), 1, true);
  let q = tf.neg(gradient);
  const steps = pairs.map(({ s, y, curvature }) => {
    const alpha = tf.mul(dot(s, q), column(curvature));
    q = tf.sub(q, tf.mul(y, alpha));
    return alpha;
  });
  let r = tf.mul<tf.Tensor2D>(q, column(problems.map(({ scale }) => scale)));
  for (let i = pairs.length - 1; i >= 0; i--) {
    const { s, y, curvature } = pairs[i]!;
    const beta = tf.mul(dot(y, r), column(curvature));
    r = tf.add(r, tf.mul(s, tf.sub(steps[i]!, beta)));
  }
  return r;
}

/** A point on a problem's line, and which evaluation gave it (0: that before the search). */
interface Point extends LinePoint {
  evaluation: number;
}

type Search = Generator<{ t: number; held: Point[] }, Point, Point>;

/** A step of the given length, wherever it leads. */
function* fixedStep(t: number): Search {
  return yield { t, held: [] };
}

/** Runs the problems' line searches side by side. A gradient is freed as soon as no search may come back to it. */
async function searched(
  place: Place,
  d: tf.Tensor2D,
  searches: (Search | undefined)[],
  { evaluate }: MinimiseOptions,
): Promise<{ points: (Point | undefined)[]; gradient: tf.Tensor2D }> {
  const { problems } = place;
  const states = searches.map((search) => search?.next());
  const gradients = new Map([[0, place.gradient]]);
  try {
    for (let evaluation = 1; states.some((state) => state && !state.done); evaluation++) {
      const steps = states.map((state) => state?.value.t ?? 0);
      const active = states.map((state) => state !== undefined && !state.done);
      const x = tf.tidy(() => {
        const moved = tf.add<tf.Tensor2D>(place.x, tf.mul(d, column(steps)));
        return rows([place.x, moved], searches.map((search) => (search ? 1 : 0))); // prettier-ignore
      });
      const { loss, gradient } = await evaluate(x, active).finally(() => x.dispose());
      gradients.set(evaluation, gradient);
      const slopes = await read([tf.tidy(() => tf.sum(tf.mul(gradient, d), 1))]);
      searches.forEach((search, k) => {
        if (!search || !active[k]) return;
        problems[k]!.evaluations++;
        states[k] = search.next({ t: steps[k]!, f: loss[k]!, slope: slopes[k]!, evaluation });
      });
      const held = new Set(
        states
          .flatMap((state) => (!state ? [] : state.done ? [state.value] : state.value.held))
          .map((p) => p.evaluation),
      );
      for (const [index, tensor] of gradients) {
        if (index === 0 || held.has(index)) continue;
        tensor.dispose();
        gradients.delete(index);
      }
    }
    const points = states.map((state) => (state?.done ? state.value : undefined));
    const order = [...gradients.keys()];
    const which = points.map((point) => order.indexOf(point?.evaluation ?? 0));
    return { points, gradient: tf.tidy(() => rows([...gradients.values()], which)) };
  } finally {
    gradients.delete(0);
    tf.dispose([...gradients.values()]);
  }
}

/**
 * Adds a pair for those problems that have one. Each problem keeps its newest `history` ones: where some had no pair of
 * their own in this or an earlier iteration, their older ones move up to the gap.
 */
function remember(place: Place, pair: Pair, history: number): void {
  const { pairs, problems } = place;
  if (!pair.curvature.some((value) => value > 0)) {
    tf.dispose([pair.s, pair.y]);
    return;
  }
  pairs.unshift(pair);
  if (pairs.length <= history) return;
  const gaps = problems.map((_, k) => {
    const gap = pairs.findIndex(({ curvature }) => curvature[k] === 0);
    return gap < 0 ? history : gap;
  });
  place.pairs = Array.from({ length: history }, (_, i) => {
    const which = gaps.map((gap) => (gap <= i ? 1 : 0));
    const [own, older] = [pairs[i]!, pairs[i + 1]!];
    return {
      s: tf.tidy(() => rows([own.s, older.s], which)),
      y: tf.tidy(() => rows([own.y, older.y], which)),
      curvature: which.map((one, k) => [own, older][one]!.curvature[k]!),
    };
  });
  tf.dispose(pairs.map(({ s, y }) => [s, y]));
}

/** A tensor whose row k is that of the tensor `which[k]`. */
function rows(tensors: tf.Tensor2D[], which: number[]): tf.Tensor2D {
  const [first] = which as [number];
  if (which.every((one) => one === first)) return tensors[first]!.clone();
  const count = which.length;
  const indices = tf.tensor1d(
    which.map((one, k) => one * count + k),
    "int32",
  );
  return tf.gather(tf.concat2d(tensors, 0), indices);
}

function column(values: number[]): tf.Tensor2D {
  return tf.tensor2d(values, [values.length, 1]);
}

/** The numbers of some vectors of equal length, one vector behind the other; they are disposed. */
async function read(vectors: tf.Tensor[]): Promise<Float32Array> {
  const together = tf.tidy(() => tf.concat(vectors));
  tf.dispose(vectors);
  try {
    return Float32Array.from(await together.data());
  } finally {
    together.dispose();
  }
}

async function stateOf({ x, gradient, pairs, problems }: Place): Promise<MinimiserState> {
  const tensors: Record<string, tf.Tensor> = { x, gradient };
  pairs.forEach(({ s, y }, i) => Object.assign(tensors, { [`s${i}`]: s, [`y${i}`]: y }));
  const arrays: MinimiserState["arrays"] = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    arrays[name] = { shape: tensor.shape, data: Float32Array.from(await tensor.data()) };
  }
  return {
    arrays,
    problems: structuredClone(problems),
    curvatures: pairs.map(({ curvature }) => [...curvature]),
  };
}

function restored({ arrays, problems, curvatures }: MinimiserState, { start, history }: MinimiseOptions): Place {
  const [count] = start.shape;
  if (problems.length !== count) throw expected(`${count} problems`, "the saved minimiser", problems.length);
  if (curvatures.length > history) {
    throw expected(`at most ${history} remembered steps`, "the saved minimiser", curvatures.length);
  }
  const names = ["x", "gradient", ...curvatures.flatMap((_, i) => [`s${i}`, `y${i}`])];
  for (const name of names) {
    const shape = arrays[name]?.shape;
    if (String(shape) !== String(start.shape)) {
      throw expected(`an array of shape [${String(start.shape)}]`, `${name} of the saved minimiser`, shape);
    }
  }
  const tensor = (name: string) => tf.tensor2d(arrays[name]!.data, start.shape);
  return {
    x: tensor("x"),
    gradient: tensor("gradient"),
    pairs: curvatures.map((curvature, i) => ({ s: tensor(`s${i}`), y: tensor(`y${i}`), curvature: [...curvature] })),
    problems: structuredClone(problems),
  };
}

function checkOptions(options: MinimiseOptions): void {
  const { start, history, maxIterations, maxEvaluations = 1, lr = 1 } = options;
  for (const [name, value] of Object.entries({ history, maxIterations, maxEvaluations })) {
    if (!(Number.isInteger(value) && value >= 1)) throw expected("a whole number of at least 1", name, value);
  }
  const rates = [lr].flat();
  if (typeof lr !== "number" && rates.length !== start.shape[0]) {
    throw expected(`${start.shape[0]} numbers, one a problem`, "lr", lr);
  }
  for (const rate of rates) if (!(rate > 0 && isFinite(rate))) throw expected("a number above 0", "lr", rate);
  for (const name of ["toleranceGradient", "toleranceChange"] as const) {
    const value = options[name] ?? 0;
    if (!(value >= 0)) throw expected("a number of at least 0", name, value);
  }
}
