import type { Architecture, ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import { consecutive } from "../lib/convert/consecutive.js";
import { buildInvertedResiduals } from "../lib/convert/inverted-residual.js";
import type { InvertedResidualNetwork } from "../lib/convert/inverted-residual.js";
import { timmStages, torchvisionV2Block } from "../lib/convert/inverted-residual-names.js";
import type { InvertedResidualNames } from "../lib/convert/inverted-residual-names.js";

/**
 * MobileNetV2 (https://arxiv.org/abs/1801.04381) of any width, under the names of torchvision and of timm; timm's deeper
 * ones too.
 */
export const mobilenetV2: ArchitectureFamily = {
  name: "mobilenetv2",
  archs: ["mobilenetv2"],
  marker: ["features.0.0.weight", "conv_stem.weight"],
  recognise,
};

/** Of the first block of each stage, and how many blocks a stage has. */
const strides = [1, 2, 2, 2, 1, 2, 1];
const repeats = [1, 2, 3, 4, 3, 3, 1];

type Names = Pick<InvertedResidualNetwork, "stem" | "head" | "classifier"> & { stages: InvertedResidualNames[][] };

function recognise(tensors: TensorShapes): Architecture | undefined {
  const names = torchvisionNames(tensors) ?? timmNames(tensors);
  if (!names) return undefined;
  const { stages, ...layers } = names;
  const blocks = stages.flat();
  // Other networks of inverted residuals have the same names, and larger kernels or squeeze-and-excitation.
  if (stages.length !== strides.length || blocks.some(({ size, squeeze }) => size !== 3 || squeeze)) return undefined;
  const network: InvertedResidualNetwork = {
    ...layers,
    blocks: stages.flatMap((stage, i) =>
      stage.map((block, j) => ({
        ...block,
        stride: j === 0 ? strides[i]! : 1,
        activation: "relu6",
        excitation: { activation: "relu", gate: "sigmoid" },
      })),
    ),
    activation: "relu6",
    padding: "symmetric",
    epsilon: 1e-5,
  };
  const filter = tensors.has("conv_stem.weight") ? "bicubic" : "bilinear";
  return {
    arch: "mobilenetv2",
    input: { height: 224, width: 224 },
    transform: `resize(256,${filter})|center_crop(224)|normalize(imagenet)`,
    build: (graph, weights) => buildInvertedResiduals(graph, weights, network),
  };
}

/** The blocks stand in one row; a narrow network's stages cannot be told apart by channels. */
function torchvisionNames(tensors: TensorShapes): Names | undefined {
  const blocks = consecutive((index) => torchvisionV2Block(tensors, `features.${index}`), 1);
  if (blocks.length !== repeats.reduce((sum, count) => sum + count)) return undefined;
  const rest = [...blocks];
  const last = blocks.length + 1;
  return {
    stem: { kernel: "features.0.0", norm: "features.0.1" },
    stages: repeats.map((count) => rest.splice(0, count)),
    head: { kernel: `features.${last}.0`, norm: `features.${last}.1` },
    classifier: "classifier.1",
  };
}

function timmNames(tensors: TensorShapes): Names | undefined {
  // MobileNetV3 has a head without batch norm.
  if (!tensors.has("conv_stem.weight") || !tensors.has("bn2.weight")) return undefined;
  return {
    stem: { kernel: "conv_stem", norm: "bn1" },
    stages: timmStages(tensors),
    head: { kernel: "conv_head", norm: "bn2" },
    classifier: "classifier",
  };
}
