import { truncateSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { loadBackbone } from "../../lib/backbones/backbone.js";
import { parseLayers } from "../../lib/backbones/layers.js";
import { convertCheckpoint, type ConvertOptions } from "../../lib/convert/convert.js";
import { formatConversion } from "../../lib/convert/format-conversion.js";
import { UserError } from "../../lib/errors.js";
import { random } from "../../lib/random.js";
import { describeOnBackends } from "../backends.js";
import { temporaryFolder } from "../command-line.js";
import { nested, saveLayersModel, smallMobileNet } from "./small-layers-models.js";

const folder = temporaryFolder();
const out = path.join(folder, "models");
const save = async (model: tf.LayersModel, name = "saved") => {
  const dir = await saveLayersModel(model, path.join(folder, name));
  model.dispose();
  return dir;
};
const convert = (file: string, options: Partial<ConvertOptions> = {}) => convertCheckpoint({ file, out, ...options });
const complaint = async (file: string, options: Partial<ConvertOptions> = {}): Promise<UserError> => {
  const error: unknown = await convert(file, options).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(UserError);
  return error as UserError;
};

describeOnBackends("a Keras LayersModel becomes a backbone", () => {
  test("its layers are taps, and give what TensorFlow.js's own layers give", async () => {
    const model = smallMobileNet();
    const stream = random(1);
    const values = Float32Array.from({ length: 2 * 33 * 33 * 3 }, () => stream.uniform());
    const pixels = tf.tensor4d(values, [2, 33, 33, 3]);
    const at = tf.model({ inputs: model.inputs, outputs: ["dw_bn", "concat"].map((name) => model.getLayer(name).output as tf.SymbolicTensor) }); // prettier-ignore
    // Features of maps are channels first.
    const maps = tf.tidy(() => (at.predict(pixels) as tf.Tensor[]).map((map) => map.transpose([0, 3, 1, 2])));
    const wanted = [...maps, model.predict(pixels) as tf.Tensor];
    const file = await saveLayersModel(model, path.join(folder, "mobile"));
    const held = tf.memory().numTensors;
    const converted = await convert(file, { transform: "resize(33x33,bilinear)|normalize(half)" });
    expect(tf.memory().numTensors).toBe(held);
    const { dir, manifest, warnings } = converted;
    expect(dir).toBe(path.join(out, "mobile", "small_mobilenet"));
    expect(warnings).toEqual([]);
    expect(manifest.taps.map(({ name }) => name)).toEqual([
      ...["rescaling", "pad", "conv1", "conv1_bn", "conv1_relu", "dw", "dw_bn", "squeeze", "gate", "gate_map", "gated"],
      ...["residual", "leaky", "separable", "means", "concat", "maxima", "enlarged", "cropped", "shared", "shared_1"],
      ...["shared_2", "average", "largest", "classes"],
    ]);
    expect(manifest.proof!.predict!.layers).toBe(manifest.taps.length);
    expect(manifest.proof!.predict!.error).toBeLessThan(1e-4);
    expect(formatConversion(converted)).toMatch(/25 layers give what TensorFlow.js's own give, to \d\.\de-\d/);
    const backbone = await loadBackbone({ dir });
    const layers = parseLayers({ text: "dw_bn:identity,concat:identity,classes", taps: backbone.taps });
    const features = Object.values(await backbone.extract({ pixels, layers }));
    for (const [i, feature] of features.entries()) {
      const [own, theirs] = [await feature.data(), await wanted[i]!.data()];
      expect(Math.max(...own.map((value, j) => Math.abs(value - theirs[j]!)))).toBeLessThan(1e-4);
    }
    backbone.dispose();
    tf.dispose([pixels, wanted, features, model.weights.map((weight) => weight.read())]);
  });

  test("a model within a model has its own taps; its images' size may be left open, and the transform is a guess", async () => {
    const { manifest, warnings } = await convert(await save(nested()), { title: "mine", arch: "nested" });
    expect(manifest.taps.map(({ name, shape }) => [name, shape])).toEqual([
      ["base/conv", [14, 14, 4]],
      ["base/flat", [784]],
      ["classes", [3]],
    ]);
    expect(warnings).toEqual([expect.stringContaining("The transform is a guess")]);
    expect(manifest.assumptions).toEqual(warnings);
    const open = await save(smallMobileNet(null));
    const { manifest: sized } = await convert(open, { imageSize: 48, precision: "float16" });
    expect(sized.input).toMatchObject({ height: 48, width: 48 });
    expect(Object.keys(sized.proof!.cosine!)).toHaveLength(25);
  });

  test("what cannot be written is named, and nothing is written then", async () => {
    const of = (layer: tf.layers.Layer, shape = [8, 8, 3]) => {
      const input = tf.input({ shape });
      return save(tf.model({ inputs: input, outputs: layer.apply(input) as tf.SymbolicTensor }));
    };
    const wrong = async (layer: tf.layers.Layer, shape?: number[]) => (await complaint(await of(layer, shape))).message;
    const { layers } = tf;
    expect(await wrong(layers.conv2dTranspose({ filters: 2, kernelSize: 2, name: "wider" }))).toBe(
      "Expected layers that can be written as a graph but wider is a Conv2DTranspose",
    );
    expect(await wrong(layers.conv2d({ filters: 2, kernelSize: 2, dilationRate: 2, name: "holes" }))).toBe(
      "Expected a layer that can be written as a graph but holes (Conv2D) has a dilation of 2x2",
    );
    expect(await wrong(layers.dense({ units: 2, activation: "softsign", name: "odd" }))).toMatch(/odd .Dense. has the activation softsign/); // prettier-ignore
    expect(await wrong(layers.flatten(), [8, 8, 1])).toMatch(
      /^Expected one input of images .* received .*any, 8, 8, 1/,
    );
    const fixed = await save(nested());
    expect((await complaint(fixed, { imageSize: 32 })).message).toMatch(
      /the image size 16x16 that the LayersModel is for/,
    );
    truncateSync(path.join(fixed, "weights.bin"), 100);
    expect((await complaint(path.join(fixed, "model.json"))).message).toMatch(
      /^Expected \d+ bytes of weights but received 100/,
    );
  });
});
