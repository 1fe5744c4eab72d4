import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import type * as tf from "@tensorflow/tfjs";

import { dataType, shapeProto, UnsupportedGraph } from "./graph-def.js";
import type { Native, SavedModel } from "./native.js";
import { bytes, entry, integer, message } from "./protobuf.js";

/** What a graph is asked at once. */
export interface Signature {
  /** The nodes that are fed, with their types (`DT_FLOAT`, ...). */
  inputs: { name: string; type: string | number }[];
  /** Tensors that are wanted, as `node` or `node:1`. */
  outputs: string[];
}

/** A graph in a session of TensorFlow's own executor. */
export interface GraphSession<Name extends string> {
  /**
   * @param inputs by the names of the signature's nodes.
   * @returns its outputs in their order; the caller disposes of them.
   */
  run(signature: Name, inputs: Record<string, tf.Tensor>): tf.Tensor[];
  dispose(): void;
}

/**
 * Opens a graph: it is written as a SavedModel to a temporary folder, read by TensorFlow, and deleted. All signatures
 * share one session, and with it the graph's variables.
 *
 * @param options.graph the GraphDef message.
 * @throws UnsupportedGraph where TensorFlow refuses the graph.
 */
export async function openGraph<Name extends string>(options: {
  native: Native;
  graph: Buffer;
  signatures: Record<Name, Signature>;
}): Promise<GraphSession<Name>> {
  const { native, graph, signatures } = options;
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "frozen-eval-session-"));
  const opened = {} as Record<Name, SavedModel>;
  const dispose = () => Object.values<SavedModel>(opened).forEach((one) => one.dispose());
  try {
    await fs.writeFile(path.join(folder, "saved_model.pb"), savedModel(graph, signatures));
    for (const name of Object.keys(signatures) as Name[]) opened[name] = await native.loadSavedModel(folder, name);
  } catch (error) {
    dispose();
    throw new UnsupportedGraph(`TensorFlow refuses it: ${String(error).split("\n")[0]}`, { cause: error });
  } finally {
    await fs.rm(folder, { recursive: true, force: true });
  }
  return {
    run: (name, inputs) => {
      const results = opened[name].predict(inputs);
      return signatures[name].outputs.map((_, position) => results[key(position)]!);
    },
    dispose,
  };
}

function key(position: number): string {
  return `output_${position}`;
}

/** SavedModel: one MetaGraph tagged `serve`. */
function savedModel(graph: Buffer, signatures: Record<string, Signature>): Buffer {
  const unknown = shapeProto({ unknownRank: true });
  const tensorInfo = (name: string, type: number) => [
    bytes(1, name.includes(":") ? name : `${name}:0`),
    integer(2, type),
    message(3, unknown),
  ];
  const written = Object.entries(signatures).map(([name, { inputs, outputs }]) =>
    entry(
      5,
      name,
      ...inputs.map((input) => entry(1, input.name, ...tensorInfo(input.name, dataType(input.type)))),
      // The session tells the true types; tfjs-node only wants one that it knows.
      ...outputs.map((output, position) => entry(2, key(position), ...tensorInfo(output, dataType("DT_FLOAT")))),
      bytes(3, "tensorflow/serving/predict"),
    ),
  );
  const metaGraph = message(2, message(1, bytes(4, "serve")), bytes(2, graph), ...written);
  return Buffer.concat([integer(1, 1), metaGraph]);
}
