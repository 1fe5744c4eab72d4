import type { Architecture, ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import type { CheckpointWeights } from "../lib/convert/checkpoint-weights.js";
import { activate } from "../lib/convert/activation.js";
import { linear } from "../lib/convert/classifier.js";
import { elementwise } from "../lib/convert/elementwise.js";
import type { GraphBuilder, GraphTensor } from "../lib/convert/graph-builder.js";
import { channelNorm } from "../lib/convert/layer-norm.js";
import { pointwise } from "../lib/convert/pointwise.js";
import { globalResponseNorm } from "../lib/convert/response-norm.js";
import { convolutionKernel, depthwiseKernel } from "../lib/convert/weight.js";

interface Size {
  size: string;
  width: number;
  depths: readonly [number, number, number, number];
}

const v1: Size[] = [
  { size: "atto", width: 40, depths: [2, 2, 6, 2] },
  { size: "femto", width: 48, depths: [2, 2, 6, 2] },
  { size: "pico", width: 64, depths: [2, 2, 6, 2] },
  { size: "nano", width: 80, depths: [2, 2, 8, 2] },
  { size: "tiny", width: 96, depths: [3, 3, 9, 3] },
  { size: "small", width: 96, depths: [3, 3, 27, 3] },
  { size: "base", width: 128, depths: [3, 3, 27, 3] },
  { size: "large", width: 192, depths: [3, 3, 27, 3] },
  { size: "xlarge", width: 256, depths: [3, 3, 27, 3] },
  { size: "xxlarge", width: 384, depths: [3, 4, 30, 3] },
];

const v2: Size[] = [
  ...v1.filter(({ size }) => !["small", "xlarge", "xxlarge"].includes(size)),
  { size: "huge", width: 352, depths: [3, 3, 27, 3] },
];

const families = { convnext: v1, convnextv2: v2 };

const archs = Object.entries(families).flatMap(([name, sizes]) => [
  ...sizes.map(({ size }) => `${name}_${size}`),
  name,
]);

/** Where a dialect keeps the parts of the network. */
interface Dialect {
  name: "timm" | "authors" | "torchvision" | "open_clip";
  patch: { kernel: string; norm: string };
  /** Between a stage and the one before; of the stages 1 to 3. */
  downsample: (stage: number) => { norm: string; kernel: string };
  block: (stage: number, index: number) => Block;
  /** Some of timm's normalise the map instead of its mean. */
  mapNorm?: string;
  /** Behind the mean over the map. */
  norm: string;
  /** Some of timm's have a layer in front of the classifier. */
  hidden?: string;
  classifier: string;
}

interface Block {
  depthwise: string;
  norm: string;
  widen: string;
  narrow: string;
  /** Of the whole branch; V2 has none. */
  scale: string;
  response: { scale: string; shift: string };
}

/** @param at what stands before timm's names. */
function timm(name: Dialect["name"], at: string): Dialect {
  return {
    name,
    patch: { kernel: `${at}stem.0`, norm: `${at}stem.1` },
    downsample: (stage) => ({
      norm: `${at}stages.${stage}.downsample.0`,
      kernel: `${at}stages.${stage}.downsample.1`,
    }),
    block: (stage, index) => {
      const block = `${at}stages.${stage}.blocks.${index}`;
      return {
        depthwise: `${block}.conv_dw`,
        norm: `${block}.norm`,
        widen: `${block}.mlp.fc1`,
        narrow: `${block}.mlp.fc2`,
        scale: `${block}.gamma`,
        response: { scale: `${block}.mlp.grn.weight`, shift: `${block}.mlp.grn.bias` },
      };
    },
    mapNorm: `${at}norm_pre`,
    norm: `${at}head.norm`,
    hidden: `${at}head.pre_logits.fc`,
    classifier: `${at}head.fc`,
  };
}

const dialects: Dialect[] = [
  timm("timm", ""),
  timm("open_clip", "trunk."),
  {
    name: "authors",
    patch: { kernel: "downsample_layers.0.0", norm: "downsample_layers.0.1" },
    downsample: (stage) => ({ norm: `downsample_layers.${stage}.0`, kernel: `downsample_layers.${stage}.1` }),
    block: (stage, index) => {
      const block = `stages.${stage}.${index}`;
      return {
        depthwise: `${block}.dwconv`,
        norm: `${block}.norm`,
        widen: `${block}.pwconv1`,
        narrow: `${block}.pwconv2`,
        scale: `${block}.gamma`,
        response: { scale: `${block}.grn.gamma`, shift: `${block}.grn.beta` },
      };
    },
    norm: "norm",
    classifier: "head",
  },
  {
    name: "torchvision",
    patch: { kernel: "features.0.0", norm: "features.0.1" },
    downsample: (stage) => ({ norm: `features.${2 * stage}.0`, kernel: `features.${2 * stage}.1` }),
    block: (stage, index) => {
      const block = `features.${2 * stage + 1}.${index}`;
      return {
        depthwise: `${block}.block.0`,
        norm: `${block}.block.2`,
        widen: `${block}.block.3`,
        narrow: `${block}.block.5`,
        scale: `${block}.layer_scale`,
        // There is no V2.
        response: { scale: `${block}.grn.weight`, shift: `${block}.grn.bias` },
      };
    },
    norm: "classifier.0",
    classifier: "classifier.2",
  },
];

/**
 * ConvNeXt (https://arxiv.org/abs/2201.03545) and ConvNeXt V2 (https://arxiv.org/abs/2301.00808), under the names of
 * timm (OpenCLIP's towers too, which hold timm's network), of the authors, and of torchvision. Depths and widths are
 * those of the tensors; a network whose sizes were not published is called `convnext` or `convnextv2`.
 */
export const convnext: ArchitectureFamily = {
  name: "convnext",
  archs,
  marker: ["trunk.stem.0.weight", "stem.0.weight", "downsample_layers.0.0.weight", "features.0.0.weight"],
  recognise,
};

function recognise(tensors: TensorShapes, arch?: string): Architecture | undefined {
  const shape = (name: string) => tensors.get(name)?.shape;
  const dialect = dialects.find(
    ({ block, patch }) =>
      shape(`${block(0, 0).depthwise}.weight`)?.[1] === 1 &&
      shape(`${block(0, 0).widen}.weight`) !== undefined &&
      shape(`${patch.kernel}.weight`)?.length === 4 &&
      shape(`${patch.norm}.weight`)?.length === 1,
  );
  if (!dialect) return undefined;
  const depths = [0, 1, 2, 3].map((stage) => depthOf(dialect, stage, tensors));
  const [width, , patch] = shape(`${dialect.patch.kernel}.weight`)! as [number, number, number];
  const name = tensors.has(dialect.block(0, 0).response.scale) ? "convnextv2" : "convnext";
  const known = families[name].find((one) => one.width === width && one.depths.join() === depths.join());
  const found = known ? `${name}_${known.size}` : name;
  if (arch !== undefined && arch !== found) return undefined;
  const network: Network = {
    dialect,
    depths,
    patch,
    // timm's pure convolutions: `conv_mlp`.
    mlp: shape(`${dialect.block(0, 0).widen}.weight`)!.length === 4 ? "convolution" : "linear",
    // OpenCLIP trained its largest with PyTorch's default.
    epsilon: width === 384 ? 1e-5 : 1e-6,
  };
  const side = dialect.name === "open_clip" ? openClipSide(tensors) : 224;
  return {
    arch: found,
    input: { height: side, width: side },
    transform: transformOf(dialect, found, side),
    build: (graph, weights) => build(graph, weights, network),
  };
}

function depthOf({ block }: Dialect, stage: number, tensors: TensorShapes): number {
  let depth = 0;
  while (tensors.has(`${block(stage, depth).depthwise}.weight`)) depth++;
  return depth;
}

/** OpenCLIP trained all but its first tower, which projects to 512, with larger images. */
function openClipSide(tensors: TensorShapes): number {
  return tensors.get("head.proj.weight")?.shape[0] === 512 ? 224 : 256;
}

function transformOf({ name }: Dialect, arch: string, side: number): string {
  if (name === "open_clip") return `resize(${side},bicubic)|center_crop(${side})|normalize(clip)`;
  // torchvision resized the images of each size to what scored best.
  const best: Record<string, number> = { convnext_tiny: 236, convnext_small: 230 };
  const resize = name === "torchvision" ? `${best[arch] ?? 232},bilinear` : "256,bicubic";
  return `resize(${resize})|center_crop(${side})|normalize(imagenet)`;
}

interface Network {
  dialect: Dialect;
  depths: readonly number[];
  /** Side of the patches of the first layer. */
  patch: number;
  mlp: "linear" | "convolution";
  epsilon: number;
}

function build(graph: GraphBuilder, weights: CheckpointWeights, network: Network): void {
  const { dialect, depths, patch, epsilon } = network;
  let x = patches(graph, weights, graph.input, { name: "stem/patch", layer: dialect.patch.kernel, size: patch });
  x = channelNorm(graph, weights, x, { name: "stem/norm", norm: dialect.patch.norm, epsilon });
  graph.tap("stem", x);
  for (const [stage, depth] of depths.entries()) {
    if (stage > 0) {
      const { norm, kernel } = dialect.downsample(stage);
      x = channelNorm(graph, weights, x, { name: `stage${stage}/downsample/norm`, norm, epsilon });
      x = patches(graph, weights, x, { name: `stage${stage}/downsample`, layer: kernel, size: 2 });
    }
    for (let index = 0; index < depth; index++) {
      x = residual(graph, weights, x, { name: `stage${stage}/block${index}`, ...dialect.block(stage, index) }, network);
    }
    graph.tap(`stage${stage}`, x);
  }
  if (dialect.mapNorm && weights.has(`${dialect.mapNorm}.weight`)) {
    x = channelNorm(graph, weights, x, { name: "norm_pre", norm: dialect.mapNorm, epsilon });
  }
  x = graph.globalAveragePool("mean", x);
  // A trunk of features alone may have no last norm.
  if (weights.has(`${dialect.norm}.weight`)) {
    x = channelNorm(graph, weights, x, { name: "norm", norm: dialect.norm, epsilon });
  }
  graph.tap("pooled", x);
  if (dialect.hidden && weights.has(`${dialect.hidden}.weight`)) {
    x = linear(graph, weights, x, { name: "pre_logits", layer: dialect.hidden });
    x = activate(graph, "pre_logits/gelu", x, "gelu");
    graph.tap("pre_logits", x);
  }
  if (weights.has(`${dialect.classifier}.weight`)) {
    // OpenCLIP's trunk ends where the projection does, where it has no layer of its own for it.
    const name = dialect.name === "open_clip" ? "projection" : "logits";
    graph.tap(name, linear(graph, weights, x, { name, layer: dialect.classifier }));
  }
  if (dialect.name === "open_clip") project(graph, weights, x);
}

/** What OpenCLIP puts behind timm's network: one layer into the space that images and texts share, or two. */
function project(graph: GraphBuilder, weights: CheckpointWeights, features: GraphTensor): void {
  if (weights.has("head.proj.weight")) {
    graph.tap("projection", linear(graph, weights, features, { name: "projection", layer: "head.proj" }));
  } else if (weights.has("head.mlp.fc1.weight")) {
    const wide = linear(graph, weights, features, { name: "projection/widen", layer: "head.mlp.fc1" });
    const active = activate(graph, "projection/gelu", wide, "gelu");
    graph.tap("projection", linear(graph, weights, active, { name: "projection", layer: "head.mlp.fc2" }));
  }
}

/** A convolution whose windows lie side by side. */
function patches(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  x: GraphTensor,
  { name, layer, size }: { name: string; layer: string; size: number },
): GraphTensor {
  const kernel = weights.take(`${layer}.weight`, [null, x.shape[2]!, size, size]);
  const y = graph.conv2d(`${name}/conv`, x, convolutionKernel(kernel), { stride: size, padding: 0 });
  return graph.biasAdd(`${name}/bias_add`, y, weights.take(`${layer}.bias`, [kernel.shape[0]!]));
}

/** Each channel is filtered by itself, normalised, and mixed with the others in a wider space. */
function residual(
  graph: GraphBuilder,
  weights: CheckpointWeights,
  input: GraphTensor,
  block: Block & { name: string },
  { dialect, mlp, epsilon }: Network,
): GraphTensor {
  const { name, response } = block;
  const channels = input.shape[2]!;
  const kernel = weights.take(`${block.depthwise}.weight`, [channels, 1, null, null]);
  const padding = (kernel.shape[2]! - 1) / 2;
  let x = graph.depthwiseConv2d(`${name}/depthwise`, input, depthwiseKernel(kernel, channels), { padding });
  x = graph.biasAdd(`${name}/depthwise/bias_add`, x, weights.take(`${block.depthwise}.bias`, [channels]));
  x = channelNorm(graph, weights, x, { name: `${name}/norm`, norm: block.norm, epsilon });
  x = pointwise(graph, weights, x, { name: `${name}/widen`, layer: block.widen, is: mlp });
  x = activate(graph, `${name}/gelu`, x, "gelu");
  if (weights.has(response.scale)) {
    const wide = x.shape[2]!;
    const shape = dialect.name === "authors" ? [1, 1, 1, wide] : [wide];
    const [scale, shift] = [weights.take(response.scale, shape), weights.take(response.shift, shape)];
    x = globalResponseNorm(graph, x, {
      name: `${name}/response`,
      scale: { ...scale, shape: [wide] },
      shift: { ...shift, shape: [wide] },
    });
  }
  x = pointwise(graph, weights, x, { name: `${name}/narrow`, layer: block.narrow, is: mlp });
  if (weights.has(block.scale)) {
    const shape = dialect.name === "torchvision" ? [channels, 1, 1] : [channels];
    const scale = { ...weights.take(block.scale, shape), shape: [channels] };
    x = elementwise(graph, `${name}/scale`, "Mul", x, scale);
  }
  return graph.add(`${name}/add`, x, input);
}
