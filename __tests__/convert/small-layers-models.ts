import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { random } from "../../lib/random.js";

const { layers } = tf;

/** In the manner of MobileNetV3, with all kinds of layers that are known. */
export function smallMobileNet(side: number | null = 33): tf.LayersModel {
  const input = tf.input({ shape: [side, side, 3], name: "images" });
  const apply = (layer: tf.layers.Layer, x: tf.SymbolicTensor | tf.SymbolicTensor[]) => layer.apply(x) as tf.SymbolicTensor; // prettier-ignore
  let x = apply(layers.rescaling({ scale: 0.5, offset: 0.1, name: "rescaling" }), input);
  x = apply(layers.zeroPadding2d({ padding: [[0, 1], [2, 1]], name: "pad" }), x); // prettier-ignore
  x = apply(layers.conv2d({ filters: 6, kernelSize: 3, strides: 2, useBias: false, name: "conv1" }), x);
  x = apply(layers.batchNormalization({ name: "conv1_bn" }), x);
  x = apply(layers.reLU({ maxValue: 6, name: "conv1_relu" }), x);
  const wide = x;
  x = apply(layers.depthwiseConv2d({ kernelSize: [3, 5], padding: "same", name: "dw", activation: "swish" }), x);
  x = apply(layers.batchNormalization({ scale: false, epsilon: 0.01, name: "dw_bn" }), x);
  const squeezed = apply(layers.globalAveragePooling2d({ name: "squeeze" }), x);
  let gate = apply(layers.dense({ units: 6, activation: "hardSigmoid", name: "gate" }), squeezed);
  gate = apply(layers.reshape({ targetShape: [1, 1, 6], name: "gate_map" }), gate);
  x = apply(layers.multiply({ name: "gated" }), [x, gate]);
  x = apply(layers.add({ name: "residual" }), [x, wide, wide]);
  x = apply(layers.leakyReLU({ alpha: 0.2, name: "leaky" }), x);
  const separable = { filters: 5, kernelSize: 3, strides: 2, padding: "same", activation: "elu", name: "separable" } as const; // prettier-ignore
  const small = apply(layers.separableConv2d(separable), x);
  const pooled = apply(layers.averagePooling2d({ poolSize: 3, strides: 2, padding: "same", name: "means" }), x);
  x = apply(layers.concatenate({ name: "concat" }), [small, pooled]);
  x = apply(layers.maxPooling2d({ poolSize: 2, name: "maxima" }), x);
  x = apply(layers.upSampling2d({ size: [2, 3], interpolation: "bilinear", name: "enlarged" }), x);
  x = apply(layers.cropping2D({ cropping: [[1, 0], [0, 2]], name: "cropped" }), x); // prettier-ignore
  const shared = layers.dense({ units: 11, activation: "tanh", name: "shared" });
  x = apply(layers.average({ name: "average" }), [apply(shared, x), apply(shared, apply(shared, x))]);
  x = apply(layers.globalMaxPooling2d({ name: "largest" }), x);
  x = apply(layers.dropout({ rate: 0.5, name: "dropout" }), x);
  x = apply(layers.dense({ units: 4, activation: "softmax", name: "classes" }), x);
  return trained(tf.model({ inputs: input, outputs: x, name: "small_mobilenet" }));
}

/** A network with a classifier on it, as Keras's transfer learning makes it. */
export function nested(): tf.LayersModel {
  const base = tf.sequential({ name: "base" });
  base.add(layers.conv2d({ inputShape: [16, 16, 3], filters: 4, kernelSize: 3, name: "conv", activation: "relu" }));
  base.add(layers.flatten({ name: "flat" }));
  const input = tf.input({ shape: [16, 16, 3] });
  const features = base.apply(input) as tf.SymbolicTensor;
  const outputs = layers.dense({ units: 3, name: "classes" }).apply(features) as tf.SymbolicTensor;
  return trained(tf.model({ inputs: input, outputs }));
}

/** With random weights, as wide as trained ones. */
function trained<T extends tf.LayersModel>(model: T): T {
  const stream = random(0, "weights");
  for (const layer of model.layers) {
    const values = layer.weights.map(({ shape, originalName }) => {
      const sizes = shape as number[];
      const length = sizes.reduce((product, size) => product * size, 1);
      const isVariance = originalName.includes("variance");
      const spread = sizes.length > 1 ? Math.sqrt(sizes.at(-1)! / length) * 1.5 : 0.5;
      const data = Float32Array.from({ length }, () =>
        isVariance ? 0.5 + stream.uniform() : stream.normal() * spread,
      );
      return tf.tensor(data, sizes);
    });
    layer.setWeights(values);
    tf.dispose(values);
  }
  return model;
}

/** Writes a model as TensorFlow.js saves it: `model.json` and one file of weights. */
export async function saveLayersModel(model: tf.LayersModel, dir: string): Promise<string> {
  await mkdir(dir, { recursive: true });
  await model.save({
    save: async ({ modelTopology, weightSpecs, weightData }) => {
      const weightsManifest = [{ paths: ["weights.bin"], weights: weightSpecs }];
      await writeFile(path.join(dir, "model.json"), JSON.stringify({ format: "layers-model", modelTopology, weightsManifest })); // prettier-ignore
      await writeFile(path.join(dir, "weights.bin"), Buffer.from(weightData as ArrayBuffer));
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: "JSON" } };
    },
  });
  return dir;
}
