import type { HalfPrecision } from "../backend/half-precision.js";
import type { SplitName } from "../datasets/dataset.js";
import type { ExtractionDone } from "./fill-store.js";
import type { FeatureSource } from "./source.js";

/** The features of a data set's splits, with what a result must tell of their making. */
export interface FeatureSet {
  splits: Partial<Record<SplitName, FeatureSource>>;
  /** A label is an index here. */
  classes: string[];
  data: { spec: string; name: string; digest: string };
  /** null where the features are the user's own, and nothing is known of their backbone. */
  backbone: {
    title: string;
    arch: string;
    digest: string;
    transform: string;
    /** Where training images are augmented. */
    trainTransform?: string;
    precision: string;
    /** In which products were computed, where not in float32, and what that changed in each layer. */
    computePrecision?: HalfPrecision;
    precisionLoss?: Record<string, number>;
  } | null;
  /** Images that could not be read and were left out. */
  skipped: { id: string; reason: string }[];
  /** What was computed now, not found in a store. */
  extraction: ExtractionDone & {
    /** How many at once. */
    batchSize?: number;
  };
  close(): Promise<void>;
}
