import type { Architecture, ArchitectureFamily, TensorShapes } from "../lib/convert/architecture.js";
import type { CheckpointWeights } from "../lib/convert/checkpoint-weights.js";
import type { GraphBuilder } from "../lib/convert/graph-builder.js";
import type { LayerNorm } from "../lib/convert/layer-norm.js";
import type { Linear } from "../lib/convert/linear.js";
import { projected, reshaped, rowsOf } from "../lib/convert/weight-parts.js";
import { linearMatrix, permuted } from "../lib/convert/weight.js";
import type { FloatWeight } from "../lib/convert/weight.js";
import { writeVisionTransformer } from "./vision-transformer.js";
import type { Mlp, TokenPooling, TransformerBlock } from "./vision-transformer.js";
import { namedDimensions, vitArch, vitArchs } from "./vit-sizes.js";
import type { VitDimensions } from "./vit-sizes.js";
import { expectPatches, imagesOf, joinLinears, positionLayout, positionsFor } from "./vit-tensors.js";
import type { PositionLayout } from "./vit-tensors.js";

/**
 * Vision transformers of Google's, as their programs in JAX name the tensors: ViT and AugReg
 * (https://github.com/google-research/vision_transformer), SigLIP (https://github.com/google-research/big_vision), in
 * `.npz`. Matrices are [channels in, channels out], convolutions [rows, columns, in, out], heads an axis of their own.
 */
export const bigVisionVit: ArchitectureFamily = {
  name: "big-vision-vit",
  archs: vitArchs("flax_vit"),
  marker: "embedding/kernel",
  recognise: (tensors, arch) => {
    const traits = traitsOf(tensors);
    if (!traits) return undefined;
    const dimensions = arch === undefined ? traits.dimensions : namedDimensions(arch, "flax_vit", traits.dimensions);
    if (!dimensions) return undefined;
    const network = { ...traits, dimensions: { ...dimensions, heads: traits.dimensions.heads } };
    const side = traits.layout.side * dimensions.patch;
    return architecture(arch ?? vitArch("flax_vit", dimensions), network, side);
  },
};

interface Traits {
  dimensions: VitDimensions;
  layout: PositionLayout;
  positions: string;
  /** Whether all blocks lie in one tensor each, along its first axis. */
  stacked: boolean;
  /** What the modules within a block are called. */
  names: BlockNames;
}

interface BlockNames {
  norm2: string;
  attention: string;
  mlp: string;
}

const bigVision: BlockNames = { norm2: "LayerNorm_1", attention: "MultiHeadDotProductAttention_0", mlp: "MlpBlock_0" };
const original: BlockNames = { norm2: "LayerNorm_2", attention: "MultiHeadDotProductAttention_1", mlp: "MlpBlock_3" };

const stack = "Transformer/encoderblock";

function traitsOf(tensors: TensorShapes): Traits | undefined {
  const kernel = tensors.get("embedding/kernel")?.shape;
  const positions = ["pos_embedding", "Transformer/posembed_input/pos_embedding"].find((name) => tensors.has(name));
  if (kernel?.length !== 4 || positions === undefined) return undefined;
  const stacked = tensors.has(`${stack}/LayerNorm_0/scale`);
  const block = stacked ? stack : `${stack}_0`;
  const names = [bigVision, original].find(({ attention }) => tensors.has(`${block}/${attention}/query/kernel`));
  const layout = positionLayout(tensors.get(positions)!.shape[1]!, tensors.has("cls") ? 1 : 0);
  if (!names || !layout) return undefined;
  const query = tensors.get(`${block}/${names.attention}/query/kernel`)!.shape;
  const depth = stacked
    ? tensors.get(`${stack}/LayerNorm_0/scale`)!.shape[0]!
    : [...tensors.keys()].filter((name) => /^Transformer\/encoderblock_\d+\/LayerNorm_0\/scale$/.test(name)).length;
  const dimensions = { width: kernel[3]!, depth, patch: kernel[0]!, heads: query.at(-2)! };
  return { dimensions, layout, positions, stacked, names };
}

function architecture(arch: string, traits: Traits, side: number): Architecture {
  return {
    arch,
    input: { height: side, width: side },
    transform: `resize(${side}x${side},bilinear)|normalize(half)`,
    build: (graph, weights) => build(arch, graph, weights, traits),
  };
}

const epsilon = 1e-6;

function build(arch: string, graph: GraphBuilder, weights: CheckpointWeights, traits: Traits): void {
  const input = imagesOf(graph);
  const { dimensions, layout, positions, stacked, names } = traits;
  const { width, depth, patch } = dimensions;
  expectPatches(arch, input, patch);
  const tensors = new FlaxTensors(weights, dimensions);
  const kernel = weights.take("embedding/kernel", [patch, patch, 3, width]);
  const prefix = weights.has("cls") ? [reshaped(weights.take("cls", [1, 1, width]), [1, width])] : [];
  writeVisionTransformer(graph, {
    patches: { kernel: permuted(kernel, [3, 2, 0, 1]), bias: weights.take("embedding/bias", [width]) },
    prefix,
    positions: positionsFor({ positions: weights.take(positions, [1, null, width]), layout, input, patch }),
    blocks: Array.from({ length: depth }, (_, i) =>
      stacked ? takeBlock(tensors.inStack(i), stack, names) : takeBlock(tensors, `${stack}_${i}`, names),
    ),
    norm: tensors.norm("Transformer/encoder_norm"),
    pooling: poolingOf(tensors, prefix.length > 0),
    classifiers: weights.has("head/kernel") ? [tensors.dense("head", null, width)] : [],
  });
}

function poolingOf(tensors: FlaxTensors, classToken: boolean): TokenPooling {
  const { weights, dimensions } = tensors;
  const { width, heads } = dimensions;
  if (!weights.has("MAPHead_0/probe")) return classToken ? { kind: "first", tokens: 1 } : { kind: "patches" };
  const attention = "MAPHead_0/MultiHeadDotProductAttention_0";
  const vector = reshaped(weights.take("MAPHead_0/probe", [1, 1, width]), [width]);
  return {
    kind: "attention",
    attention: {
      heads,
      query: projected({ ...tensors.toHeads(`${attention}/query`), vector }),
      keyValue: joinLinears([tensors.toHeads(`${attention}/key`), tensors.toHeads(`${attention}/value`)]),
      out: tensors.fromHeads(`${attention}/out`),
    },
    norm: tensors.norm("MAPHead_0/LayerNorm_0"),
    mlp: tensors.mlp("MAPHead_0/MlpBlock_0"),
  };
}

function takeBlock(tensors: FlaxTensors, block: string, { norm2, attention, mlp }: BlockNames): TransformerBlock {
  const parts = ["query", "key", "value"].map((part) => tensors.toHeads(`${block}/${attention}/${part}`));
  return {
    norm1: tensors.norm(`${block}/LayerNorm_0`),
    attention: {
      heads: tensors.dimensions.heads,
      qkv: joinLinears(parts),
      out: tensors.fromHeads(`${block}/${attention}/out`),
    },
    norm2: tensors.norm(`${block}/${norm2}`),
    mlp: tensors.mlp(`${block}/${mlp}`),
  };
}

/** Flax's modules, in PyTorch's layout. */
class FlaxTensors {
  /** @param position within tensors that hold all blocks. */
  constructor(
    readonly weights: CheckpointWeights,
    readonly dimensions: VitDimensions,
    private readonly position?: number,
  ) {}

  inStack(position: number): FlaxTensors {
    return new FlaxTensors(this.weights, this.dimensions, position);
  }

  norm(name: string): LayerNorm {
    const { width } = this.dimensions;
    return { scale: this.take(`${name}/scale`, [width]), shift: this.take(`${name}/bias`, [width]), epsilon };
  }

  dense(name: string, out: number | null, channels: number): Linear {
    const matrix = linearMatrix(this.take(`${name}/kernel`, [channels, out]));
    return { matrix, bias: this.take(`${name}/bias`, [matrix.shape[0]!]) };
  }

  mlp(name: string): Mlp {
    const { width } = this.dimensions;
    const up = this.dense(`${name}/Dense_0`, null, width);
    return { activation: "gelu_tanh", up, down: this.dense(`${name}/Dense_1`, width, up.matrix.shape[0]!) };
  }

  toHeads(name: string): Linear {
    const { width, heads } = this.dimensions;
    const kernel = this.take(`${name}/kernel`, [width, heads, width / heads]);
    const bias = this.take(`${name}/bias`, [heads, width / heads]);
    return { matrix: linearMatrix(reshaped(kernel, [width, width])), bias: reshaped(bias, [width]) };
  }

  fromHeads(name: string): Linear {
    const { width, heads } = this.dimensions;
    const kernel = this.take(`${name}/kernel`, [heads, width / heads, width]);
    return { matrix: linearMatrix(reshaped(kernel, [width, width])), bias: this.take(`${name}/bias`, [width]) };
  }

  private take(name: string, shape: readonly (number | null)[]): FloatWeight {
    if (this.position === undefined) return this.weights.take(name, shape);
    const all = this.weights.take(name, [this.dimensions.depth, ...shape]);
    return reshaped(rowsOf(all, this.position, 1), all.shape.slice(1));
  }
}
