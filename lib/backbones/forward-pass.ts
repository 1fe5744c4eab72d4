import * as tf from "@tensorflow/tfjs";

import { type JsonNode, UnsupportedGraph, type Weight } from "../backend/graph-def.js";
import type { HalfPrecision } from "../backend/half-precision.js";
import { openNativeSession, type NativeSession, type NativeSessionOptions } from "../backend/native-session.js";
import { GraphBuilder, type NodeDef } from "../convert/graph-builder.js";
import { expected } from "../errors.js";
import { digestOfGraph, loadGraphModel, type GraphFiles } from "./graph-files.js";
import type { LayerRequest } from "./layers.js";
import { poolingNodes } from "./pooling-nodes.js";

/** One run of a graph from its image input to some of its nodes; what lies behind them is not computed. */
export interface ForwardPass {
  /**
   * @param options.input what the placeholder takes; the caller keeps it.
   * @param options.nodes each once.
   * @returns a tensor a node, in order; the caller disposes them.
   */
  run(options: { input: tf.Tensor4D; nodes: string[] }): Promise<tf.Tensor[]>;
  /**
   * The same with the layers' poolings as part of the graph, so that nothing larger leaves it. Absent where a graph
   * cannot be continued.
   *
   * @returns [N, width] a layer, in order; undefined where the graph does not give what the layers' taps say.
   */
  runPooled?(options: { input: tf.Tensor4D; layers: readonly LayerRequest[] }): Promise<tf.Tensor2D[] | undefined>;
  /** How the last run was done: by TensorFlow's session, or op by op; undefined before the first. */
  readonly execution?: Execution;
  dispose(): void;
}

export type Execution = "session" | "op by op";

interface ForwardPassOptions {
  files: GraphFiles;
  inputNode: string;
  /** As `digestOfGraph` gives it, where it is known. */
  digest?: string;
  /** In which a session computes convolutions and matrix products, where not in single precision. */
  half?: HalfPrecision;
}

/** The fastest that the active backend has. */
export async function openForwardPass(options: ForwardPassOptions): Promise<ForwardPass> {
  await tf.ready();
  return tf.getBackend() === "tensorflow" ? nativeForwardPass(options) : eagerForwardPass(options);
}

/** Op by op on the active backend. */
export async function eagerForwardPass({ files, inputNode }: ForwardPassOptions): Promise<ForwardPass> {
  const model = await loadGraphModel(files);
  return {
    execution: "op by op",
    run: async ({ input, nodes }) => {
      const outputs = model.execute({ [inputNode]: input }, nodes);
      return Array.isArray(outputs) ? outputs : [outputs];
    },
    dispose: () => model.dispose(),
  };
}

type Wanted = Pick<NativeSessionOptions, "outputs" | "continuation">;

/** By a session of native TensorFlow, opened anew for other nodes; op by op where TensorFlow cannot run the graph. */
function nativeForwardPass(options: ForwardPassOptions): ForwardPass {
  const { files, half } = options;
  let opened: { key: string; session: NativeSession } | undefined;
  let eager: ForwardPass | undefined;
  let digest = options.digest;
  /** Undefined where TensorFlow cannot run the graph. */
  const sessionFor = async (key: string, wanted: () => Promise<Wanted>): Promise<NativeSession | undefined> => {
    if (opened?.key === key) return opened.session;
    if (eager) return undefined;
    opened?.session.dispose();
    opened = undefined;
    digest ??= await digestOfGraph(files);
    try {
      const session = await openNativeSession({ modelJson: files.modelFile, digest, half, ...(await wanted()) });
      opened = { key, session };
      return session;
    } catch (error) {
      if (!(error instanceof UnsupportedGraph)) throw error;
      if (half) throw expected("a graph that TensorFlow's session runs", `--compute-precision ${half}`, error.message);
      eager = await eagerForwardPass(options);
      return undefined;
    }
  };
  return {
    get execution() {
      return opened ? "session" : eager?.execution;
    },
    run: async ({ input, nodes }) => {
      const session = await sessionFor(JSON.stringify(nodes), async () => ({ outputs: nodes }));
      return session ? session.run(input) : eager!.run({ input, nodes });
    },
    runPooled: async ({ input, layers }) => {
      const key = layers.map(({ tap, pooling }) => [tap.node, tap.shape, pooling.text]);
      const session = await sessionFor(JSON.stringify(key), () => pooledLayers({ ...options, layers }));
      if (!session) return undefined;
      let features: tf.Tensor2D[];
      try {
        features = session.run(input) as tf.Tensor2D[];
      } catch {
        // A tap of another shape cannot be pooled; without poolings it can be told which.
        return undefined;
      }
      const due = (tensor: tf.Tensor, i: number) => tensor.shape.join() === `${input.shape[0]},${layers[i]!.width}`;
      if (features.every(due)) return features;
      tf.dispose(features);
      return undefined;
    },
    dispose: () => {
      opened?.session.dispose();
      eager?.dispose();
    },
  };
}

/** The graph continued by the layers' poolings. */
async function pooledLayers(options: ForwardPassOptions & { layers: readonly LayerRequest[] }): Promise<Wanted> {
  const { files, inputNode, layers } = options;
  const own = files.json.modelTopology.node as NodeDef[];
  const graph = new GraphBuilder({ nodes: own, input: { node: inputNode, shape: [] } });
  let name = "features";
  while (own.some((node) => node.name.startsWith(name))) name += "_";
  const outputs = layers.map((layer, i) => {
    const tensor = { node: layer.tap.node, shape: layer.tap.shape };
    return poolingNodes({ graph, name: `${name}/${i}`, tensor, layer }).node;
  });
  const weights = new Map<string, Weight>();
  for (const [node, weight] of graph.weights) weights.set(node, { ...weight, data: await weight.read() });
  return { outputs, continuation: { nodes: graph.nodes.slice(own.length) as JsonNode[], weights } };
}
