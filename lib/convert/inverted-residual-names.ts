import type { TensorShapes } from "./architecture.js";
import { consecutive } from "./consecutive.js";

/** A convolution and the batch norm behind it: `<kernel>.weight`, `<norm>.weight` and so on. */
export interface NormalisedLayer {
  kernel: string;
  norm: string;
}

/** Where a checkpoint keeps a block, and what its shapes tell. */
export interface InvertedResidualNames {
  /** Absent where the block does not widen its input. */
  expand?: NormalisedLayer;
  depthwise: NormalisedLayer;
  /** Squeeze-and-excitation behind the depthwise convolution. */
  squeeze?: { reduce: string; expand: string };
  project: NormalisedLayer;
  /** Of its result. */
  channels: number;
  /** Side of the depthwise kernel. */
  size: number;
}

/** timm: `blocks.<stage>.<block>`; stages in which the first block is none of these end the list. */
export function timmStages(tensors: TensorShapes): InvertedResidualNames[][] {
  return consecutive((stage) => {
    const blocks = consecutive((index) => timmBlock(tensors, `blocks.${stage}.${index}`));
    return blocks.length > 0 ? blocks : undefined;
  });
}

function timmBlock(tensors: TensorShapes, block: string): InvertedResidualNames | undefined {
  const layer = (kernel: string, norm: string) => ({ kernel: `${block}.${kernel}`, norm: `${block}.${norm}` });
  const squeeze = tensors.has(`${block}.se.conv_reduce.weight`)
    ? { reduce: `${block}.se.conv_reduce`, expand: `${block}.se.conv_expand` }
    : undefined;
  return tensors.has(`${block}.conv_pwl.weight`)
    ? measured(tensors, {
        expand: layer("conv_pw", "bn1"),
        depthwise: layer("conv_dw", "bn2"),
        squeeze,
        project: layer("conv_pwl", "bn3"),
      })
    : measured(tensors, { depthwise: layer("conv_dw", "bn1"), squeeze, project: layer("conv_pw", "bn2") });
}

/** EfficientNet-PyTorch: `_blocks.<block>`. */
export function lukemelasBlocks(tensors: TensorShapes): InvertedResidualNames[] {
  return consecutive((index) => {
    const block = `_blocks.${index}`;
    const layer = (kernel: string, norm: string) => ({ kernel: `${block}.${kernel}`, norm: `${block}.${norm}` });
    return measured(tensors, {
      expand: tensors.has(`${block}._expand_conv.weight`) ? layer("_expand_conv", "_bn0") : undefined,
      depthwise: layer("_depthwise_conv", "_bn1"),
      squeeze: tensors.has(`${block}._se_reduce.weight`)
        ? { reduce: `${block}._se_reduce`, expand: `${block}._se_expand` }
        : undefined,
      project: layer("_project_conv", "_bn2"),
    });
  });
}

/** torchvision's MobileNetV3 and EfficientNet: a list of layers under `<block>.block`. */
export function torchvisionBlock(tensors: TensorShapes, block: string): InvertedResidualNames | undefined {
  const parts = consecutive((index) => {
    const part = `${block}.block.${index}`;
    return tensors.has(`${part}.0.weight`) || tensors.has(`${part}.fc1.weight`) ? part : undefined;
  });
  const squeeze = parts.find((part) => tensors.has(`${part}.fc1.weight`));
  const layers = parts.filter((part) => part !== squeeze).map((part) => ({ kernel: `${part}.0`, norm: `${part}.1` }));
  if (layers.length < 2 || layers.length > 3) return undefined;
  return measured(tensors, {
    expand: layers.at(-3),
    depthwise: layers.at(-2)!,
    squeeze: squeeze === undefined ? undefined : { reduce: `${squeeze}.fc1`, expand: `${squeeze}.fc2` },
    project: layers.at(-1)!,
  });
}

/** torchvision's MobileNetV2: layers and groups of layers in turn under `<block>.conv`. */
export function torchvisionV2Block(tensors: TensorShapes, block: string): InvertedResidualNames | undefined {
  const group = (index: number) => ({ kernel: `${block}.conv.${index}.0`, norm: `${block}.conv.${index}.1` });
  const plain = (index: number) => ({ kernel: `${block}.conv.${index}`, norm: `${block}.conv.${index + 1}` });
  return tensors.has(`${block}.conv.3.weight`)
    ? measured(tensors, { expand: group(0), depthwise: group(1), project: plain(2) })
    : measured(tensors, { depthwise: group(0), project: plain(1) });
}

/** Blocks one after another as stages: a stage has one number of channels and one size of kernels. */
export function stagesOf(blocks: readonly InvertedResidualNames[]): InvertedResidualNames[][] {
  const stages: InvertedResidualNames[][] = [];
  for (const block of blocks) {
    const [last] = stages.at(-1) ?? [];
    if (last?.channels === block.channels && last.size === block.size) stages.at(-1)!.push(block);
    else stages.push([block]);
  }
  return stages;
}

/** With what the shapes tell; undefined where the tensors are missing, or the middle one is not depthwise. */
function measured(
  tensors: TensorShapes,
  names: Omit<InvertedResidualNames, "channels" | "size">,
): InvertedResidualNames | undefined {
  const shape = (layer: NormalisedLayer) => tensors.get(`${layer.kernel}.weight`)?.shape;
  const [depthwise, project] = [shape(names.depthwise), shape(names.project)];
  if (depthwise?.length !== 4 || depthwise[1] !== 1 || project?.length !== 4) return undefined;
  return { ...names, size: depthwise[2]!, channels: project[0]! };
}
