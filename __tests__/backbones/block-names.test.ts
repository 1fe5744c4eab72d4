import { blockNames } from "../../lib/backbones/block-names.js";

/** The blocks of some nodes, each once; sums are named add. */
function blocks(nodes: string[]): string[] {
  return [...new Set(blockNames(nodes, (node) => /add(_\d+)?$/.test(node)))];
}

describe("blocks told from names", () => {
  test("MobileNet of TF-slim, whose first block has no number", () => {
    expect(
      blocks([
        "m/V2/Conv/Relu6",
        "m/V2/expanded_conv/project/BatchNorm",
        "m/V2/expanded_conv_1/expand/Relu6",
        "m/V2/expanded_conv_1/project/BatchNorm",
        "m/V2/expanded_conv_2/add",
        "m/V2/Conv_1/Relu6",
        "m/extern1/BatchNorm/Fused",
        "m/extern1/hard_swish/mul_1",
      ]),
    ).toEqual(["m/V2/Conv", "m/V2/expanded_conv", "m/V2/expanded_conv_1", "m/V2/expanded_conv_2", "m/V2/Conv_1", "m/extern1"]); // prettier-ignore
  });

  test("ResNet of TF-slim: stages of several sums are divided into units", () => {
    const units = [1, 2].flatMap((block) => [1, 2, 3].map((unit) => `resnet/block${block}/unit_${unit}`));
    expect(blocks(units.flatMap((unit) => [`${unit}/bottleneck/add`, `${unit}/bottleneck/Relu`]))).toEqual(units);
  });

  test("ResNet of Keras, whose names are flat", () => {
    expect(
      blocks(["conv1_conv/Conv2D", "conv1_relu/Relu", "conv2_block1_add/add", "conv2_block1_out/Relu", "conv2_block2_add/add", "conv2_block2_out/Relu", "conv3_block1_add/add", "conv3_block2_add/add"]), // prettier-ignore
    ).toEqual(["conv1", "conv2_block1", "conv2_block2", "conv3_block1", "conv3_block2"]);
  });

  test("a transformer: two sums a block", () => {
    const layers = [0, 1, 2].map((layer) => `vit/encoder/layer/${layer}`);
    expect(blocks(layers.flatMap((layer) => [`${layer}/add`, `${layer}/add_1`]))).toEqual(layers);
  });
});
