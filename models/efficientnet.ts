import type { Architecture, ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import { consecutive } from "../lib/convert/consecutive.js";
import { buildInvertedResiduals } from "../lib/convert/inverted-residual.js";
import type { InvertedResidualNetwork } from "../lib/convert/inverted-residual.js";
import { lukemelasBlocks, stagesOf, timmStages, torchvisionBlock } from "../lib/convert/inverted-residual-names.js";
import type { InvertedResidualNames } from "../lib/convert/inverted-residual-names.js";
import type { NetworkLabel } from "../lib/convert/network-label.js";
import { tensorflowPort } from "./tensorflow-port.js";

interface Variant {
  /** E.g. `b0`, `lite0`. */
  size: string;
  /** Channels of the last block, and the number of all blocks: what tells the variants apart. */
  channels: number;
  blocks: number;
  /** Side of the images of timm, of torchvision, and of the original, which EfficientNet-PyTorch has too. */
  side: { timm?: number; torchvision?: number; original: number };
  /** Short side to which torchvision resizes. */
  resize?: number;
}

const variants: Variant[] = [
  { size: "b0", channels: 320, blocks: 16, side: { timm: 224, torchvision: 224, original: 224 }, resize: 256 },
  { size: "b1", channels: 320, blocks: 23, side: { timm: 256, torchvision: 240, original: 240 }, resize: 256 },
  { size: "b2", channels: 352, blocks: 23, side: { timm: 288, torchvision: 288, original: 260 }, resize: 288 },
  { size: "b3", channels: 384, blocks: 26, side: { timm: 320, torchvision: 300, original: 300 }, resize: 320 },
  { size: "b4", channels: 448, blocks: 32, side: { timm: 384, torchvision: 380, original: 380 }, resize: 384 },
  { size: "b5", channels: 512, blocks: 39, side: { timm: 448, torchvision: 456, original: 456 }, resize: 456 },
  { size: "b6", channels: 576, blocks: 45, side: { torchvision: 528, original: 528 }, resize: 528 },
  { size: "b7", channels: 640, blocks: 55, side: { torchvision: 600, original: 600 }, resize: 600 },
  { size: "b8", channels: 704, blocks: 61, side: { original: 672 } },
];

const lites: Variant[] = [
  { size: "lite0", channels: 320, blocks: 16, side: { timm: 224, original: 224 } },
  { size: "lite1", channels: 320, blocks: 21, side: { original: 240 } },
  { size: "lite2", channels: 352, blocks: 21, side: { original: 260 } },
  { size: "lite3", channels: 384, blocks: 24, side: { original: 280 } },
  { size: "lite4", channels: 448, blocks: 30, side: { original: 300 } },
];

const archs = [
  ...variants.map(({ size }) => `efficientnet_${size}`),
  ...[...variants, ...lites].map(({ size }) => `tf_efficientnet_${size}`),
  "efficientnet",
  "tf_efficientnet",
];

/** Of the first block of each stage. */
const strides = [1, 2, 2, 2, 1, 2, 1];
/** Blocks of each stage of B0, and by what they are multiplied in the others, rounded up. */
const repeats = [1, 2, 2, 3, 3, 4, 1];
const depths = [1, 1.1, 1.2, 1.4, 1.8, 2.2, 2.6, 3.1, 3.6];
/** Sides of the depthwise kernels. */
const kernels = [3, 3, 5, 3, 5, 5, 3];

type DialectName = "timm" | "torchvision" | "lukemelas";

type Names = Pick<InvertedResidualNetwork, "stem" | "head" | "classifier"> & {
  dialect: DialectName;
  stages: InvertedResidualNames[][];
};

/**
 * EfficientNet B0 to B8 (https://arxiv.org/abs/1905.11946) under the names of timm, of torchvision, and of
 * EfficientNet-PyTorch (lukemelas); and EfficientNet-Lite under timm's names. Channels and depths are those of the
 * tensors; a network of other sizes is called `efficientnet`.
 *
 * `tf_…` are timm's ports of the TensorFlow weights. Their tensors look like those that timm trained
 * ({@link tensorflowPort}); but B6 to B8 and all of Lite but Lite0 are ports.
 */
export const efficientnet: ArchitectureFamily = {
  name: "efficientnet",
  archs,
  marker: ["conv_stem.weight", "features.0.0.weight", "_conv_stem.weight"],
  recognise,
};

function recognise(tensors: TensorShapes, arch?: string, label?: NetworkLabel): Architecture | undefined {
  const names = timmNames(tensors) ?? torchvisionNames(tensors) ?? lukemelasNames(tensors);
  if (!names) return undefined;
  const { dialect, stages, ...layers } = names;
  const blocks = stages.flat();
  const isLite = dialect === "timm" && blocks.every(({ squeeze }) => !squeeze);
  if (blocks.length === 0 || stages.length > strides.length) return undefined;
  if (!isLite && !blocks.every(({ squeeze }) => squeeze)) return undefined;
  // MobileNetV2 is a Lite with smaller kernels.
  if (isLite && stages.map(([first]) => first!.size).join() !== kernels.join()) return undefined;
  const variant = (isLite ? lites : variants).find(
    (one) => one.blocks === blocks.length && one.channels === blocks.at(-1)!.channels,
  );
  if (isLite && !variant) return undefined;
  const own = variant ? `efficientnet_${variant.size}` : "efficientnet";
  const isOneOfBoth = dialect === "timm" && (variant === undefined || variant.side.timm !== undefined);
  const { isPort, assumptions } = isOneOfBoth
    ? tensorflowPort({ own, asked: arch, label, likely: isLite ? "port" : "own" })
    : { isPort: dialect === "timm", assumptions: [] };
  const found = isPort ? `tf_${own}` : own;
  if (arch !== undefined && arch !== found) return undefined;
  const like = isPort ? "lukemelas" : dialect;
  const activation = isLite ? "relu6" : "silu";
  const network: InvertedResidualNetwork = {
    ...layers,
    blocks: stages.flatMap((stage, i) =>
      stage.map((block, j) => ({
        ...block,
        stride: j === 0 ? strides[i]! : 1,
        activation,
        excitation: { activation: "silu", gate: "sigmoid" },
      })),
    ),
    activation,
    padding: like === "lukemelas" ? "same" : "symmetric",
    epsilon: epsilonOf(like, blocks.length),
  };
  const { side, transform } = preparation(like, variant, isLite && isPort);
  return {
    arch: found,
    input: { height: side, width: side },
    transform,
    build: (graph, weights) => buildInvertedResiduals(graph, weights, network),
    assumptions,
  };
}

/** TensorFlow's is 1e-3 and PyTorch's 1e-5; torchvision's B5 to B7 hold TensorFlow's. */
function epsilonOf(like: DialectName, blocks: number): number {
  const isTensorFlow = like === "lukemelas" || (like === "torchvision" && blocks >= 39);
  return isTensorFlow ? 1e-3 : 1e-5;
}

function preparation(like: DialectName, variant: Variant | undefined, isLitePort: boolean) {
  const { side: sides, resize: torchvision } = variant ?? variants[0]!;
  const side = (like === "lukemelas" ? undefined : sides[like]) ?? sides.original;
  // The original leaves a border of 32 pixels; timm scores those above 224 pixels without one.
  const timm = side === 224 ? 256 : side;
  const resize = { timm, torchvision: torchvision ?? side, lukemelas: side + 32 }[like];
  const statistics = isLitePort ? "half" : "imagenet";
  return { side, transform: `resize(${resize},bicubic)|center_crop(${side})|normalize(${statistics})` };
}

function timmNames(tensors: TensorShapes): Names | undefined {
  // MobileNetV3 has a head without batch norm.
  if (!tensors.has("conv_stem.weight") || !tensors.has("bn2.weight")) return undefined;
  return {
    dialect: "timm",
    stem: { kernel: "conv_stem", norm: "bn1" },
    stages: timmStages(tensors),
    head: { kernel: "conv_head", norm: "bn2" },
    classifier: "classifier",
  };
}

function torchvisionNames(tensors: TensorShapes): Names | undefined {
  const stages = consecutive((stage) => {
    const blocks = consecutive((index) => torchvisionBlock(tensors, `features.${stage}.${index}`));
    return blocks.length > 0 ? blocks : undefined;
  }, 1);
  if (stages.length === 0) return undefined;
  const head = `features.${stages.length + 1}`;
  return {
    dialect: "torchvision",
    stem: { kernel: "features.0.0", norm: "features.0.1" },
    stages,
    head: { kernel: `${head}.0`, norm: `${head}.1` },
    classifier: "classifier.1",
  };
}

function lukemelasNames(tensors: TensorShapes): Names | undefined {
  const blocks = lukemelasBlocks(tensors);
  if (blocks.length === 0) return undefined;
  return {
    dialect: "lukemelas",
    stem: { kernel: "_conv_stem", norm: "_bn0" },
    stages: split(blocks),
    head: { kernel: "_conv_head", norm: "_bn1" },
    classifier: "_fc",
  };
}

/** The blocks stand in one row; those of a published depth are told apart by it, others by channels and kernels. */
function split(blocks: InvertedResidualNames[]): InvertedResidualNames[][] {
  const counts = depths
    .map((depth) => repeats.map((count) => Math.ceil(count * depth)))
    .find((one) => one.reduce((sum, count) => sum + count) === blocks.length);
  const rest = [...blocks];
  return counts?.map((count) => rest.splice(0, count)) ?? stagesOf(blocks);
}
