import type { Numbers } from "../../search/range.js";

/** How settings are searched: `tpe` as CoG does; `halving` trains most of them briefly. */
export type LogregSearch = "tpe" | "random" | "grid" | "halving";

/**
 * Who finds a logistic regression: `sgd` as CoG does; `lbfgs` minimises the same loss to its least, along a path of
 * penalties, in a small part of the time.
 */
export type LogregMethodName = "sgd" | "lbfgs";

/**
 * ImageNet-CoG's logistic regression: one linear layer on the features, trained by SGD, whose learning rate and weight
 * decay are searched on a part of the training images that is held out, then trained on all of them; and, beside it,
 * the least of the same loss, whose penalty is chosen on the same part.
 *
 * Source: ImageNet-CoG, `logreg.py` and `feature_ops.py` (protocols.md 2.4 and 2.5).
 */
export interface LogregProtocol {
  seeds: number[];
  /** Images of each class that are trained on; undefined for all. */
  shots?: number;
  /** Each once. What they find stands side by side, in the order of {@link LogregMethodName}. */
  methods: LogregMethodName[];
  search: LogregSearch;
  /** Settings that are tried. */
  trials: number;
  /** A range to search, or values: a single one of both is taken as it is, and nothing is searched. */
  lr: Numbers;
  weightDecay: Numbers;
  /** λ of `lbfgs`, which is the weight decay of weights and biases: values, or a range with its number of points. */
  penalties: Numbers;
  epochs: number;
  /** Images a step; all of them where there are fewer. */
  batchSize: number;
  /** Part of each class that is held out for the choice, rounded down; in (0, 1). */
  valFraction: number;
  /** Whether features are divided by their length: x / max(‖x‖, 1e-12). */
  normalize: boolean;
  /**
   * CoG's rules where ours differ. Of few shots it chooses on a fifth of *all* images of a class and draws anew for the
   * last training; a class of fewer than five images is for the choice alone; trials run one after the other; SGD
   * alone.
   */
  asPublished: boolean;
  /** Part of all images that is reported on, where the data has neither `test` nor `val`; in (0, 1). */
  testFraction: number;
}

/** CoG's settings; the seeds are those of its scripts. */
export const logregDefaults: LogregProtocol = {
  seeds: [22, 37, 45, 77, 93],
  methods: ["sgd", "lbfgs"],
  search: "tpe",
  trials: 30,
  lr: { from: 0.1, to: 100, scale: "log" },
  weightDecay: { from: 1e-12, to: 1e-4, scale: "log" },
  penalties: { from: 1e-9, to: 1e-3, scale: "log", count: 19 },
  epochs: 100,
  batchSize: 1024,
  valFraction: 0.2,
  normalize: true,
  asPublished: false,
  testFraction: 0.2,
};

/** What is given, and CoG's settings for what is not; as published, SGD alone. */
export function logregProtocolOf(given: Partial<LogregProtocol>): LogregProtocol {
  const names = [...Object.keys(logregDefaults), "shots"] as (keyof LogregProtocol)[];
  const known = names.map((name) => [name, given[name]] as const).filter(([, value]) => value !== undefined);
  const settings = { ...logregDefaults, ...(Object.fromEntries(known) as Partial<LogregProtocol>) };
  const methods = given.methods ?? (settings.asPublished ? ["sgd"] : settings.methods);
  return { ...settings, methods: logregDefaults.methods.filter((name) => methods.includes(name)) };
}
