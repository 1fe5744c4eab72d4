import type { TensorEntry } from "../checkpoints/tensor.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import type { GraphBuilder } from "./graph-builder.js";

/** Names, shapes and types of a checkpoint's tensors, without the wrapper's prefix: all that an architecture is known by. */
export type TensorShapes = ReadonlyMap<string, Pick<TensorEntry, "shape" | "dtype">>;

/** A network that can be written as a graph. */
export interface Architecture {
  /** As in the manifest, e.g. `efficientnet_lite0`. */
  arch: string;
  /** Size of the images that it was trained with. */
  input: { height: number; width: number };
  /** What its images are put through where the user does not say. */
  transform: string;
  /**
   * Writes the network, with a tap at every place where the field takes features. Images have the size of
   * `graph.input`, which is `input` unless the user asked for another: position embeddings are then resampled.
   *
   * @throws UserError where a tensor is missing or has another shape.
   */
  build: (graph: GraphBuilder, weights: CheckpointWeights) => void;
}

/** Architectures of one kind: one file in `models/`. */
export interface ArchitectureFamily {
  /** E.g. `efficientnet-lite`. */
  name: string;
  /** All of its architectures' names. */
  archs: string[];
  /**
   * A tensor that every checkpoint of the family has (or several, of which each checkpoint has one); what stands before
   * its name there are wrappers.
   */
  marker: string | readonly string[];
  /**
   * Which architecture it is: by the shapes, or the one that was asked for.
   *
   * @returns undefined where the tensors are of another family.
   */
  recognise(tensors: TensorShapes, arch?: string): Architecture | undefined;
}
