import { arraySource, openNpyPair } from "../../lib/features/array-source.js";
import type { FeatureSet } from "../../lib/features/feature-set.js";
import { readNpy } from "../../lib/features/npy-file.js";
import { golden, goldenPath } from "../golden.js";

/** What VISSL and an exact solver found on one set of features (`golden/svm`). */
export interface GoldenSvm {
  costs: number[];
  crossval_ap_vissl: number[][];
  chosen_cost_vissl: number[];
  test_ap_vissl: number[];
  crossval_ap_exact: number[][];
  chosen_cost_exact: number[];
  test_ap_exact_at_chosen: number[];
  max_abs_diff_crossval_exact_vs_vissl_per_cost: number[];
  run_to_run_crossval: number;
  files_written: string[];
}

/** 420 × 64 features of six classes, and 150 × 200 of four. */
export type GoldenName = "wide_n" | "wide_d";

export function goldenSvm(name: GoldenName): GoldenSvm {
  return golden(`svm/${name}/expected.json`);
}

export async function goldenFeatures(name: GoldenName): Promise<FeatureSet> {
  const open = (split: string) =>
    openNpyPair({
      features: goldenPath(`svm/${name}/${split}_features.npy`),
      targets: goldenPath(`svm/${name}/${split}_targets.npy`),
    });
  return featureSet({ train: await open("train"), test: await open("test") });
}

/** The same in memory, after a change. */
export async function changedFeatures(
  change: (of: { split: "train" | "test"; data: Float32Array; labels: Int8Array; classes: number }) => void,
): Promise<FeatureSet> {
  const open = async (split: "train" | "test") => {
    const features = await readNpy({ file: goldenPath(`svm/wide_d/${split}_features.npy`) });
    const targets = await readNpy({ file: goldenPath(`svm/wide_d/${split}_targets.npy`) });
    const classes = targets.shape[1]!;
    const data = Float32Array.from(features.data as Float32Array);
    const labels = Int8Array.from(targets.data as Int32Array);
    change({ split, data, labels, classes });
    return arraySource({
      layers: { features: { shape: features.shape.slice(1), data } },
      targets: { kind: "multi", labels, classes },
    });
  };
  return featureSet({ train: await open("train"), test: await open("test") });
}

function featureSet(splits: FeatureSet["splits"]): FeatureSet {
  const { targets } = splits.train!;
  const count = targets.kind === "multi" ? targets.classes : 0;
  return {
    splits,
    classes: Array.from({ length: count }, (_, c) => `class ${c}`),
    data: { spec: "golden", name: "golden", digest: "0" },
    backbone: null,
    skipped: [],
    extraction: { images: 0, seconds: 0 },
    close: async () => {
      for (const source of Object.values(splits)) await source.close();
    },
  };
}
