import { z } from "zod";

import { accountOf, checkFrozen, checkOutside, type OtherKeys } from "./account.js";
import { visslData } from "./data.js";
import { visslLayers } from "./heads.js";
import { VisslKeys } from "./keys.js";
import { fixedKeys, whyInert } from "./other-keys.js";
import { readVisslConfig } from "./read-config.js";
import { visslTransform } from "./transforms.js";

export interface SvmTranslation {
  /** Settings of `train-svm`, by their keys. */
  settings: Record<string, unknown>;
  /** Every key that the configuration gives, in one of the two lists; those that cannot be honoured are an error. */
  used: string[];
  /** Keys and the reason. */
  changesNothing: Record<string, string>;
  /** What VISSL does otherwise. */
  differs: string[];
}

/**
 * The SVMs of a configuration of VISSL's, as settings of `train-svm`. The backbone is not among them.
 *
 * @param options.file VISSL's YAML.
 * @param options.overrides as VISSL's programs take them.
 * @param options.ownData whether the data is named elsewhere, so that the configuration's is let be.
 * @throws UserError naming key, file and line of what cannot be honoured, and what to do.
 */
export async function translateVisslSvm(options: {
  file: string;
  overrides: readonly string[];
  ownData: boolean;
  cwd: string;
}): Promise<SvmTranslation> {
  const keys = new VisslKeys(await readVisslConfig(options));
  checkOutside(keys);
  checkFrozen(keys);
  if (keys.given("SVM") === undefined) {
    throw keys.refusal("SVM", "settings of SVMs", "Linear heads are trained by npx eval-linear --vissl.");
  }
  const layers = visslLayers(keys);
  if (layers.length === 0) {
    throw keys.refusal(
      "MODEL.FEATURE_EVAL_SETTINGS.LINEAR_EVAL_FEAT_POOL_OPS_MAP",
      "at least one tap with its pooling",
      'For example [["res5", ["AvgPool2d", [[6, 6], 1, 0]]]].',
    );
  }
  const { data } = (options.ownData ? undefined : visslData(keys)) ?? {};
  const settings = {
    ...(data === undefined ? {} : { data }),
    transform: transformOf(keys),
    layers,
    ...svmsOf(keys),
  };
  return {
    settings,
    used: keys.used().map((key) => `config.${key}`),
    changesNothing: accountOf(keys, otherKeys),
    differs: ["Each SVM is solved to its optimum; LIBLINEAR stops after max_iter, at large costs before it."],
  };
}

function svmsOf(keys: VisslKeys): Record<string, unknown> {
  const base = keys.get("SVM.costs.base", z.number(), "a number");
  const powers = z.tuple([z.int(), z.int()]);
  const classes = keys.get("SVM.cls_list", z.array(z.int().min(0)), "a list of whole numbers");
  const count = z.int().min(1);
  return {
    costs: keys.get("SVM.costs.costs_list", z.array(z.number().positive()), "a list of numbers above 0"),
    // VISSL's sign for none is −1.
    ...(base > 0 && { costBase: base, costPowers: keys.get("SVM.costs.power_range", powers, "two whole numbers") }),
    loss: keys.get("SVM.loss", z.enum(["squared_hinge", "hinge"]), "squared_hinge or hinge"),
    normalize: keys.get("SVM.normalize", z.boolean(), "True or False"),
    folds: keys.get("SVM.cross_val_folds", z.int().min(2), "a whole number of at least 2"),
    ...(classes.length > 0 && { classes }),
    // VISSL has them in all configurations, and a program for those that mean them.
    ...(keys.given("SVM.low_shot") !== undefined && {
      lowShot: keys.get("SVM.low_shot.k_values", z.array(count).min(1), "a list of whole numbers from 1"),
      samples: keys.get("SVM.low_shot.sample_inds", z.array(count).min(1), "a list of whole numbers from 1").length,
    }),
  };
}

/** SVMs see each image once. */
function transformOf(keys: VisslKeys): string {
  const transform = visslTransform(keys, "TEST");
  if (visslTransform(keys, "TRAIN") === transform && !/random_|hflip/.test(transform)) return transform;
  throw keys.refusal(
    "DATA.TRAIN.TRANSFORMS",
    "the transforms of TEST, without chance,",
    "SVMs see each image once: repeat the list of DATA.TEST.TRANSFORMS.",
  );
}

/** As of linear heads, but for what belongs to heads alone. */
const otherKeys: OtherKeys = {
  fixed: {
    ...Object.fromEntries(Object.entries(fixedKeys).filter(([key]) => !/^(LOSS|OPTIMIZER|HOOKS|TEST_)|HEAD/.test(key))),
    "MODEL.FEATURE_EVAL_SETTINGS.EXTRACT_TRUNK_FEATURES_ONLY": {
      value: true,
      hint: "SVMs are trained on features of the trunk.",
    },
    "SVM.penalty": { value: "l2", hint: "Weights are regularised by their squares." },
  },
  whyInert: (key) => {
    const why = inert.find(([pattern]) => pattern.test(key))?.[1];
    return why ?? (key.startsWith("SVM.") ? undefined : whyInert(key, ""));
  },
};

const inert: [pattern: RegExp, why: string][] = [
  [/^SVM\.(dual|max_iter)$/, "solved to the optimum either way"],
  [/^SVM\.force_retrain$/, "what is finished depends on all settings"],
  [/^SVM\.low_shot\.dataset_name$/, "the labels tell how images are drawn"],
  [/^SVM\.costs\.power_range$/, "without a base"],
  [/^(TEST_ONLY|TEST_MODEL)$/, "SVMs are trained and tested"],
  [/^(OPTIMIZER|LOSS|METERS|TRAINER|HOOKS|MODEL\.HEAD)(\.|$)/, "no head is trained by steps"],
  [/^DISTRIBUTED\./, "one machine"],
  [/^SEED_VALUE$/, "nothing is drawn"],
  [/^DATA\.(TRAIN|TEST)\.(BATCHSIZE_PER_REPLICA|COLLATE_FUNCTION)$/, "features do not depend on it"],
];
