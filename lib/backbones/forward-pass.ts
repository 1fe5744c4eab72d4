import * as tf from "@tensorflow/tfjs";

import { UnsupportedGraph } from "../backend/graph-def.js";
import { openNativeSession, type NativeSession } from "../backend/native-session.js";
import { loadGraphModel, type GraphFiles } from "./graph-files.js";

/** One run of a graph from its image input to some of its nodes; what lies behind them is not computed. */
export interface ForwardPass {
  /**
   * @param options.input what the placeholder takes; the caller keeps it.
   * @param options.nodes each once.
   * @returns a tensor a node, in order; the caller disposes them.
   */
  run(options: { input: tf.Tensor4D; nodes: string[] }): Promise<tf.Tensor[]>;
  dispose(): void;
}

interface ForwardPassOptions {
  files: GraphFiles;
  inputNode: string;
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
    run: async ({ input, nodes }) => {
      const outputs = model.execute({ [inputNode]: input }, nodes);
      return Array.isArray(outputs) ? outputs : [outputs];
    },
    dispose: () => model.dispose(),
  };
}

/** By a session of native TensorFlow, opened anew for other nodes; op by op where TensorFlow cannot run the graph. */
function nativeForwardPass(options: ForwardPassOptions): ForwardPass {
  let opened: { key: string; session: NativeSession } | undefined;
  let eager: ForwardPass | undefined;
  const sessionFor = async (nodes: string[]): Promise<NativeSession> => {
    const key = JSON.stringify(nodes);
    if (opened?.key !== key) {
      opened?.session.dispose();
      opened = undefined;
      opened = { key, session: await openNativeSession({ modelJson: options.files.modelFile, outputs: nodes }) };
    }
    return opened.session;
  };
  return {
    run: async ({ input, nodes }) => {
      if (!eager) {
        try {
          return (await sessionFor(nodes)).run(input);
        } catch (error) {
          if (!(error instanceof UnsupportedGraph)) throw error;
          eager = await eagerForwardPass(options);
        }
      }
      return eager.run({ input, nodes });
    },
    dispose: () => {
      opened?.session.dispose();
      eager?.dispose();
    },
  };
}
