import * as tf from "@tensorflow/tfjs";

import type { ForwardPass } from "./forward-pass.js";
import { descendants, type Graph } from "./graph.js";

/** Ops whose outputs depend on values, or on loops: TensorFlow.js runs them only asynchronously. */
const dynamicOp = new RegExp(
  "^(Ref)?(Switch|Merge|Enter|Exit|NextIteration|LoopCond|(Stateless)?(If|While)|Where|NonMaxSuppressionV\\d)$" +
    "|^(Tensor(Array|List)|(Mutable)?HashTable|LookupTable)",
);

/**
 * Shapes of the nodes, seen by running the graph on an empty batch of images.
 *
 * Heads with loops or with ops that the backend lacks are left out, with all that hangs on them; the trunk before them
 * is not disturbed.
 *
 * @param options.images shape of what the placeholder takes, [N, H, W, 3].
 * @param options.nodes those of interest; all that can be run where undefined.
 */
export async function nodeShapes(options: {
  graph: Graph;
  forward: ForwardPass;
  images: [number, number, number, number];
  dtype: "float32" | "int32";
  nodes?: string[];
}): Promise<Map<string, number[]>> {
  const { graph, forward, images, dtype } = options;
  const input = tf.zeros<tf.Rank.R4>(images, dtype);
  const run = async (nodes: string[]): Promise<Map<string, number[]>> => {
    if (nodes.length === 0) return new Map();
    const outputs = await forward.run({ input, nodes });
    const shapes = new Map(nodes.map((node, i) => [node, outputs[i]?.shape ?? []]));
    tf.dispose(outputs);
    return shapes;
  };
  const runs = async (nodes: string[]) => (await run(nodes).catch(() => undefined)) !== undefined;
  try {
    let nodes = options.nodes ?? runnable(graph);
    for (;;) {
      const shapes = await run(nodes).catch(() => undefined);
      if (shapes) return shapes;
      // The nodes stand in order: the shortest beginning that fails ends with a node that fails.
      let [good, bad] = [0, nodes.length];
      while (bad - good > 1) {
        const middle = Math.floor((good + bad) / 2);
        if (await runs(nodes.slice(0, middle))) good = middle;
        else bad = middle;
      }
      const hanging = descendants(graph, [nodes[bad - 1]!]);
      nodes = nodes.filter((node) => !hanging.has(node));
    }
  } finally {
    input.dispose();
  }
}

function runnable(graph: Graph): string[] {
  const all = [...graph.nodes.values()];
  const closed = descendants(
    graph,
    all.filter(({ op }) => dynamicOp.test(op)).map(({ name }) => name),
  );
  const leaves = new Set(["Const", "Placeholder", "NoOp", "Assert"]);
  return all.filter(({ name, op }) => !leaves.has(op) && !closed.has(name)).map(({ name }) => name);
}
