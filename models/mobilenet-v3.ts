import type { Architecture, ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import { consecutive } from "../lib/convert/consecutive.js";
import { buildInvertedResiduals } from "../lib/convert/inverted-residual.js";
import type { InvertedResidualNetwork } from "../lib/convert/inverted-residual.js";
import { stagesOf, timmStages, torchvisionBlock } from "../lib/convert/inverted-residual-names.js";
import type { InvertedResidualNames } from "../lib/convert/inverted-residual-names.js";
import type { NetworkLabel } from "../lib/convert/network-label.js";
import { tensorflowPort } from "./tensorflow-port.js";

/**
 * MobileNetV3 small and large (https://arxiv.org/abs/1905.02244) of any width, under the names of torchvision and of
 * timm. `tf_…` are timm's ports of the TensorFlow weights, whose tensors look the same ({@link tensorflowPort}).
 */
export const mobilenetV3: ArchitectureFamily = {
  name: "mobilenetv3",
  archs: ["mobilenetv3_small", "mobilenetv3_large", "tf_mobilenetv3_small", "tf_mobilenetv3_large"],
  marker: ["features.0.0.weight", "conv_stem.weight"],
  recognise,
};

/** `stride` is of a stage's first block. */
interface Stage {
  stride: number;
  activation: "relu" | "hard_swish";
}

interface Variant {
  arch: "mobilenetv3_small" | "mobilenetv3_large";
  stages: readonly Stage[];
}

const relu = (stride: number): Stage => ({ stride, activation: "relu" });
const hardSwish = (stride: number): Stage => ({ stride, activation: "hard_swish" });

const variants: Variant[] = [
  { arch: "mobilenetv3_large", stages: [relu(1), relu(2), relu(2), hardSwish(2), hardSwish(1), hardSwish(2)] },
  { arch: "mobilenetv3_small", stages: [relu(2), relu(2), hardSwish(2), hardSwish(1), hardSwish(2)] },
  // A shortened one: all of this kind reduce the image 32 times, so that each of four stages halves it.
  { arch: "mobilenetv3_small", stages: [relu(2), relu(2), hardSwish(2), hardSwish(2)] },
];

/** Blocks of each stage as published, where channels do not tell stages apart. */
const repeats: Record<number, number[]> = { 15: [1, 2, 3, 4, 2, 3], 11: [1, 2, 3, 2, 3] };

type Names = Pick<InvertedResidualNetwork, "stem" | "head" | "hidden" | "classifier"> & {
  stages: InvertedResidualNames[][];
};

function recognise(tensors: TensorShapes, arch?: string, label?: NetworkLabel): Architecture | undefined {
  const names = torchvisionNames(tensors) ?? timmNames(tensors);
  if (!names) return undefined;
  const { stages, ...layers } = names;
  const squeezed = stages.flat().filter(({ squeeze }) => squeeze).length;
  const variant = variants.find((one) => one.stages.length === stages.length);
  if (!variant || squeezed === 0 || squeezed === stages.flat().length) return undefined;
  const isTimm = tensors.has("conv_stem.weight");
  const { isPort, assumptions } = isTimm
    ? tensorflowPort({ own: variant.arch, asked: arch, label, likely: "own" })
    : { isPort: false, assumptions: [] };
  const found = `${isPort ? "tf_" : ""}${variant.arch}`;
  if (arch !== undefined && arch !== found) return undefined;
  const network: InvertedResidualNetwork = {
    ...layers,
    blocks: stages.flatMap((stage, i) =>
      stage.map((block, j) => ({
        ...block,
        stride: j === 0 ? variant.stages[i]!.stride : 1,
        activation: variant.stages[i]!.activation,
        excitation: { activation: "relu", gate: "hard_sigmoid" },
      })),
    ),
    activation: "hard_swish",
    padding: isPort ? "same" : "symmetric",
    epsilon: isTimm && !isPort ? 1e-5 : 1e-3,
  };
  return {
    arch: found,
    input: { height: 224, width: 224 },
    transform: `resize(256,${isTimm ? "bicubic" : "bilinear"})|center_crop(224)|normalize(imagenet)`,
    build: (graph, weights) => buildInvertedResiduals(graph, weights, network),
    assumptions,
  };
}

function torchvisionNames(tensors: TensorShapes): Names | undefined {
  const blocks = consecutive((index) => torchvisionBlock(tensors, `features.${index}`), 1);
  if (blocks.length === 0) return undefined;
  const rest = [...blocks];
  const head = `features.${blocks.length + 1}`;
  return {
    stem: { kernel: "features.0.0", norm: "features.0.1" },
    stages: repeats[blocks.length]?.map((count) => rest.splice(0, count)) ?? stagesOf(blocks),
    head: { kernel: `${head}.0`, norm: `${head}.1` },
    hidden: { layer: "classifier.0", is: "linear" },
    classifier: "classifier.3",
  };
}

/** The last stage is a plain convolution, which serves as the head; `conv_head` stands behind the mean. */
function timmNames(tensors: TensorShapes): Names | undefined {
  if (!tensors.has("conv_stem.weight") || tensors.has("bn2.weight")) return undefined;
  const stages = timmStages(tensors);
  const head = `blocks.${stages.length}.0`;
  // Others that timm builds of the same parts have other numbers of blocks.
  const published = Object.values(repeats).map((counts) => counts.join());
  if (!published.includes(stages.map(({ length }) => length).join()) || !tensors.has(`${head}.conv.weight`)) {
    return undefined;
  }
  return {
    stem: { kernel: "conv_stem", norm: "bn1" },
    stages,
    head: { kernel: `${head}.conv`, norm: `${head}.bn1` },
    hidden: { layer: "conv_head", is: "convolution" },
    classifier: "classifier",
  };
}
