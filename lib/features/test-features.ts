import { show, UserError } from "../errors.js";
import { digestOf } from "../files.js";
import type { FeatureSet } from "./feature-set.js";
import type { FeatureSource } from "./source.js";

/**
 * The training images of one set of features, and the test images of another, as one. What the first has for a test is
 * left out; where it has no splits, all of it is for training.
 *
 * @param test its split `test`, or the only one that it has.
 * @returns a set whose closing closes both.
 * @throws UserError where layers, their widths, the kind of labels, or the backbones differ.
 */
export function withTestFeatures(train: FeatureSet, test: FeatureSet): FeatureSet {
  const [from, to] = [train.data.spec, test.data.spec];
  const whole = train.splits.train ?? train.splits.all;
  if (!whole) throw new UserError(`Expected features to train on in ${from} but it holds a test split only`);
  const only = Object.values(test.splits);
  const judged = test.splits.test ?? (only.length === 1 ? only[0] : undefined);
  if (!judged) {
    throw new UserError(
      `Expected a split test, or one only, in ${to} but it has ${Object.keys(test.splits).join(", ")}`,
    );
  }
  checkLayers(whole, judged, { from, to });
  checkBackbones(train, test);
  const { source, classes } = sameClasses(whole, judged, { train, test });
  const { val } = train.splits;
  return {
    ...train,
    splits: { train: whole, ...(val ? { val } : {}), test: source },
    classes,
    data: {
      spec: `${from}, test ${to}`,
      name: train.data.name,
      digest: digestOf([train.data.digest, test.data.digest]),
    },
    skipped: [...train.skipped, ...test.skipped],
    close: async () => {
      await train.close();
      await test.close();
    },
  };
}

interface Specs {
  from: string;
  to: string;
}

function checkLayers(train: FeatureSource, test: FeatureSource, { from, to }: Specs): void {
  const names = ({ layers }: FeatureSource) => layers.map(({ name }) => name);
  if (names(train).join() !== names(test).join()) {
    throw new UserError(
      `Expected the layers ${names(train).join(", ")} of ${from} in ${to} too but received ${names(test).join(", ")}`,
      { hint: "Name those that are in both: --layers." },
    );
  }
  const other = train.layers.findIndex(({ width }, i) => width !== test.layers[i]!.width);
  if (other < 0) return;
  const { name, width } = train.layers[other]!;
  throw new UserError(
    `Expected ${width} numbers an image for layer ${name} of ${to}, as in ${from}, but received ${test.layers[other]!.width}`,
  );
}

function checkBackbones(train: FeatureSet, test: FeatureSet): void {
  if (!train.backbone || !test.backbone || digestOf(train.backbone) === digestOf(test.backbone)) return;
  throw new UserError(
    `Expected features of one backbone and transform but ${train.data.spec} and ${test.data.spec} differ`,
    { hint: "Extract both with the same settings." },
  );
}

/** The test images with the numbers that their classes have in training. */
function sameClasses(
  whole: FeatureSource,
  judged: FeatureSource,
  { train, test }: { train: FeatureSet; test: FeatureSet },
): { source: FeatureSource; classes: string[] } {
  const [a, b] = [whole.targets, judged.targets];
  const words = { single: "one label an image", multi: "several labels an image" };
  if (a.kind !== b.kind) {
    throw new UserError(
      `Expected ${words[a.kind]} for ${test.data.spec}, as in training, but received ${words[b.kind]}`,
      {
        hint: "svmlight:TRAIN,TEST reads the labels of two files together.",
      },
    );
  }
  if (b.kind === "multi") {
    if (train.classes.join("\n") !== test.classes.join("\n")) {
      throw new UserError(
        `Expected the ${train.classes.length} classes of ${train.data.spec} for ${test.data.spec} but received ${show(test.classes)}`,
      );
    }
    return { source: judged, classes: train.classes };
  }
  // Some classes may be in one of them only.
  const classes = [...new Set([...train.classes, ...test.classes])];
  const position = new Map(classes.map((name, label) => [name, label]));
  const labels = b.labels.map((label) => (label < 0 ? label : position.get(test.classes[label]!)!));
  return { source: { ...judged, targets: { kind: "single", labels } }, classes };
}
