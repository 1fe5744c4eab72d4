import * as tf from "@tensorflow/tfjs";

import { expected } from "../../errors.js";
import { GraphBuilder, type GraphTensor } from "../graph-builder.js";
import { writeLayer } from "./layer.js";

/** What was written of a model: its layers' results by the names of their taps, and the models within it. */
export interface TracedModel {
  model: tf.LayersModel;
  taps: Map<string, tf.SymbolicTensor>;
  within: { traced: TracedModel; inputs: tf.SymbolicTensor[] }[];
}

/**
 * Writes a LayersModel as a graph, with a tap for each layer that computes something, under its name; of a model within
 * a model, `<model>/<layer>`; of a layer that is used again, `<layer>_1`.
 *
 * @param options.side of the images, where the model takes any.
 * @throws UserError where the model does not take RGB images, or a layer cannot be written.
 */
export function traceLayers(options: { model: tf.LayersModel; side?: number }): {
  graph: GraphBuilder;
  traced: TracedModel;
} {
  const { model } = options;
  const graph = new GraphBuilder(imagesOf(options));
  const { traced } = traceModel({ graph, model, inputs: [graph.input], prefix: "" });
  return { graph, traced };
}

function imagesOf({ model, side }: { model: tf.LayersModel; side?: number }): { height: number; width: number } {
  const shapes = model.inputs.map(({ shape }) => shape);
  const [, height, width, channels] = shapes[0]!;
  if (shapes.length !== 1 || shapes[0]!.length !== 4 || channels !== 3) {
    const told = shapes.map((shape) => `[${shape.map((size) => size ?? "any").join(", ")}]`);
    throw expected("one input of images [any, height, width, 3]", "a LayersModel", told.join(" and "));
  }
  const fits = [height, width].every((size) => size === null || side === undefined || size === side);
  if (!fits) throw expected(`the image size ${height}x${width} that the LayersModel is for`, "--image-size", side);
  return { height: height ?? side ?? 224, width: width ?? side ?? 224 };
}

function traceModel(options: {
  graph: GraphBuilder;
  model: tf.LayersModel;
  inputs: readonly GraphTensor[];
  /** Stands before the names of its layers. */
  prefix: string;
}): { traced: TracedModel; outputs: GraphTensor[] } {
  const { graph, model, prefix } = options;
  const traced: TracedModel = { model, taps: new Map(), within: [] };
  const results = new Map<number, GraphTensor>(model.inputs.map(({ id }, i) => [id, options.inputs[i]!]));
  const uses = new Map<string, number>();
  const resultOf = (tensor: tf.SymbolicTensor): GraphTensor => {
    if (!results.has(tensor.id)) {
      const layer = tensor.sourceLayer;
      const { inputTensors, outputTensors } = layer.inboundNodes[tensor.nodeIndex]!;
      const inputs = inputTensors.map(resultOf);
      const use = uses.get(layer.name) ?? 0;
      uses.set(layer.name, use + 1);
      const name = prefix + layer.name.replace(/[^A-Za-z0-9._/-]/g, "_") + (use === 0 ? "" : `_${use}`);
      const outputs = write({ layer, name, inputs, inputTensors, outputTensors });
      outputTensors.forEach(({ id }, i) => results.set(id, outputs[i]!));
    }
    return results.get(tensor.id)!;
  };
  const write = ({ layer, name, inputs, inputTensors, outputTensors }: Use): GraphTensor[] => {
    if (layer instanceof tf.LayersModel) {
      const inner = traceModel({ graph, model: layer, inputs, prefix: `${name}/` });
      traced.within.push({ traced: inner.traced, inputs: inputTensors });
      return inner.outputs;
    }
    const output = writeLayer({ graph, name, layer, inputs });
    // What does something in training alone gives what it takes.
    if (!inputs.includes(output)) {
      graph.tap(name, output);
      traced.taps.set(name, outputTensors[0]!);
    }
    return [output];
  };
  return { outputs: model.outputs.map(resultOf), traced };
}

/** A layer that is called once. */
interface Use {
  layer: tf.layers.Layer;
  name: string;
  inputs: readonly GraphTensor[];
  inputTensors: tf.SymbolicTensor[];
  outputTensors: tf.SymbolicTensor[];
}
