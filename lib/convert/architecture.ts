import type { TensorEntry } from "../checkpoints/tensor.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import type { GraphBuilder } from "./graph-builder.js";
import type { NetworkLabel } from "./network-label.js";

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
  /** What neither tensors nor label tell and was assumed: a sentence each, with what to do where it is wrong. */
  assumptions?: readonly string[];
}

/** Architectures of one kind: one file in `models/`. */
export interface ArchitectureFamily {
  /** E.g. `efficientnet-lite`. */
  name: string;
  /** The names of its published architectures, the best known first; it may understand others. */
  archs: string[];
  /**
   * A tensor that every checkpoint of the family has (or several, of which each checkpoint has one); what stands before
   * its name there are wrappers.
   */
  marker: string | readonly string[];
  /**
   * Which architecture it is: by the shapes, or the one that was asked for; what those do not tell, by the label.
   *
   * @returns undefined where the tensors, or the name, are of another family.
   */
  recognise(tensors: TensorShapes, arch?: string, label?: NetworkLabel): Architecture | undefined;
}
