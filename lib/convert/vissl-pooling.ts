import type { GraphBuilder } from "./graph-builder.js";

/**
 * VISSL's poolings for linear evaluation of a ResNet at 224 pixels, some 9,000 numbers a layer
 * (https://github.com/facebookresearch/vissl, configs/config/benchmark/linear_image_classification); at another size
 * the mean over all positions.
 */
export function visslPooling(graph: GraphBuilder, tap: string): string {
  const is224 = graph.input.shape[0] === 224 && graph.input.shape[1] === 224;
  return (is224 ? poolings[tap] : undefined) ?? "avg";
}

const poolings: Record<string, string> = {
  conv1: "avg_pool(10x10,10,4)",
  res2: "avg_pool(16x16,8,0)",
  res3: "avg_pool(13x13,5,0)",
  res4: "avg_pool(8x8,3,0)",
  res5: "avg_pool(6x6,1,0)",
};
