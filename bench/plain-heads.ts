import * as tf from "@tensorflow/tfjs";

import type { FeatureSource } from "../lib/features/source.js";
import { random } from "../lib/random.js";
import type { HeadCase } from "./head-cases.js";
import type { Peers } from "./heads.js";
import { peakOf } from "./memory.js";

/** The trials of one linear head by what TensorFlow.js has for it, one after the other. It knows no weight decay. */
export function plainTensorFlow({ heads, classes }: HeadCase, source: FeatureSource, batchSize: number): Peers {
  if (heads.length > 1 || source.layers.length > 1) throw new Error("The plain loop trains one head");
  const { name, width } = source.layers[0]!;
  const { targets } = source;
  if (targets.kind === "multi") throw new Error("The plain loop knows one label an image");
  const rows = random(0, "order").permutation(source.size);
  const train = async (lr: number) => {
    const optimizer = tf.train.momentum(lr, 0.9, true);
    const weight = tf.variable(tf.randomUniform([width, classes], -0.01, 0.01));
    const bias = tf.variable(tf.zeros([classes]));
    for await (const batch of source.pass({ rows, batchSize })) {
      tf.tidy(() => {
        const labels = tf.oneHot(Array.from(batch.rows, (row) => targets.labels[row]!), classes); // prettier-ignore
        const scores = () => batch.features[name]!.matMul(weight).add(bias);
        optimizer.minimize(() => tf.losses.softmaxCrossEntropy(labels, scores()).asScalar());
      });
      tf.dispose(batch.features);
    }
    await weight.data();
    tf.dispose([weight, bias]);
    optimizer.dispose();
  };
  return {
    modes: ["plain loop"],
    name: () => Promise.resolve(`TensorFlow.js ${tf.version_core}`),
    epoch: async () => {
      const started = performance.now();
      for (const { lr } of heads[0]!.trials) await train(lr);
      return { seconds: (performance.now() - started) / 1000, memory: peakOf() };
    },
    end: () => undefined,
  };
}
