import { stringify } from "yaml";

const transforms = [
  { name: "Resize", size: 40 },
  { name: "Resize", size: [32, 32] },
  { name: "ToTensor" },
  { name: "Normalize", mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
];

/** The keys of VISSL's file for VOC07, on a small backbone. */
export const svmConfig = {
  TEST_MODEL: false,
  SEED_VALUE: 0,
  DATA: {
    TRAIN: { BATCHSIZE_PER_REPLICA: 32, TRANSFORMS: transforms },
    TEST: { TRANSFORMS: transforms },
  },
  TRAINER: { TRAIN_STEP_NAME: "standard_train_step" },
  MODEL: {
    FEATURE_EVAL_SETTINGS: {
      EVAL_MODE_ON: true,
      FREEZE_TRUNK_ONLY: true,
      EXTRACT_TRUNK_FEATURES_ONLY: true,
      SHOULD_FLATTEN_FEATS: false,
      LINEAR_EVAL_FEAT_POOL_OPS_MAP: [["block1", ["AvgPool2d", [[8, 8], 4, 0]]]],
    },
    TRUNK: { NAME: "resnet" },
  },
  SVM: {
    cls_list: [0, 3],
    costs: { base: -1, costs_list: [1], power_range: [-2, 0] },
    cross_val_folds: 2,
    loss: "squared_hinge",
    penalty: "l2",
    max_iter: 2000,
    normalize: true,
  },
  DISTRIBUTED: { NUM_PROC_PER_NODE: 8 },
};

/** 22 settings. */
export function svmYaml(config: Record<string, unknown> = svmConfig): string {
  return `# @package _global_\n${stringify({ config }, { aliasDuplicateObjects: false })}`;
}
