import { stringify } from "yaml";

/** Configurations with the keys and values of VISSL's benchmark files, made from the table of what each says. */
export interface BenchmarkFile {
  /** Of configs/vissl/. */
  name: string;
  dataset: string;
  source?: string;
  classes: number;
  epochs?: number;
  milestones?: number[];
  rate?: Record<string, unknown>;
  base?: { value: number; batch?: number; auto?: boolean };
  weightDecay?: number;
  nesterov?: boolean;
  regularizeNorm?: boolean;
  train?: "rrc" | "flip" | "none" | "square" | "alexnet";
  taps?: Tap[];
  seed?: number;
  perReplica?: number;
  processes?: number;
  nodes?: number;
  synced?: boolean;
  multiLabel?: boolean;
}

type Tap = [tap: string, pooling: [string, unknown[]], head: "mlp" | "eval_mlp", channels: number, width: number];

const convolutions: Tap[] = [
  ["conv1", ["AvgPool2d", [[10, 10], 10, 4]], "eval_mlp", 64, 9216],
  ["res2", ["AvgPool2d", [[16, 16], 8, 0]], "eval_mlp", 256, 9216],
  ["res3", ["AvgPool2d", [[13, 13], 5, 0]], "eval_mlp", 512, 8192],
  ["res4", ["AvgPool2d", [[8, 8], 3, 0]], "eval_mlp", 1024, 9216],
  ["res5", ["AvgPool2d", [[6, 6], 1, 0]], "eval_mlp", 2048, 8192],
];
const mean: Tap = ["res5avg", ["Identity", []], "eval_mlp", 2048, 2048];
const plainMean: Tap = ["res5avg", ["Identity", []], "mlp", 2048, 2048];
const pooled: Tap[] = [["res5", ["AdaptiveAvgPool2d", [[1, 1]]], "eval_mlp", 2048, 2048]];
const two: Tap[] = [["res5", ["AdaptiveAvgPool2d", [[2, 2]]], "eval_mlp", 2048, 8192], mean];
const alexnet: Tap[] = [
  ["conv1", ["AvgPool2d", [[19, 19], 4, 0]], "eval_mlp", 96, 9600],
  ["conv2", ["AvgPool2d", [[12, 12], 3, 0]], "eval_mlp", 256, 9216],
  ["conv3", ["AvgPool2d", [[9, 9], 1, 0]], "eval_mlp", 384, 9600],
  ["conv4", ["AvgPool2d", [[9, 9], 1, 0]], "eval_mlp", 384, 9600],
  ["conv5", ["AvgPool2d", [[8, 8], 1, 0]], "eval_mlp", 256, 9216],
];
const cosine = (from: number, to: number, per = "epoch") => ({
  name: "cosine",
  start_value: from,
  end_value: to,
  update_interval: per,
});
const long = { epochs: 84, milestones: [24, 48, 72], taps: [...convolutions, mean], seed: 0 };
const oneLayer = { epochs: 100, weightDecay: 1e-6, nesterov: false, regularizeNorm: true };
const fromThree = { rate: cosine(0.3, 0, "step"), base: { value: 0.3 } };

/** protocols.md, 1.1. */
export const benchmarkFiles: BenchmarkFile[] = [
  { name: "imagenet1k", dataset: "imagenet1k_folder", classes: 1000, taps: [...convolutions, mean, plainMean] },
  {
    name: "places205",
    dataset: "places205_folder",
    classes: 205,
    epochs: 14,
    milestones: [4, 8, 12],
    taps: convolutions,
    seed: 0,
  },
  { name: "inaturalist18", dataset: "inaturalist2018_filelist", source: "disk_filelist", classes: 8142, ...long },
  { name: "iwildcam", dataset: "iwilds_cam_val_filelist", source: "disk_filelist", classes: 182, ...long },
  {
    name: "alexnet",
    dataset: "imagenet1k_folder",
    classes: 1000,
    nesterov: false,
    train: "alexnet",
    taps: alexnet,
    seed: 0,
    synced: false,
  },
  { name: "final-output", dataset: "imagenet1k_folder", classes: 1000, ...oneLayer, ...fromThree, taps: [plainMean] },
  {
    name: "swav",
    dataset: "imagenet1k_folder",
    classes: 1000,
    ...oneLayer,
    ...fromThree,
    taps: [["res5", ["AvgPool2d", [[7, 7], 1, 0]], "mlp", 2048, 2048]],
  },
  {
    name: "moco",
    dataset: "imagenet1k_folder",
    classes: 1000,
    ...oneLayer,
    nesterov: true,
    weightDecay: 0,
    rate: { name: "multistep", values: [30, 3, 0.3], milestones: [60, 80], update_interval: "epoch" },
    base: { value: 30 },
    taps: [plainMean],
    perReplica: 256,
    processes: 1,
  },
  { name: "caltech101", dataset: "caltech101_folder", classes: 102 },
  { name: "dtd", dataset: "dtd_folder", classes: 47 },
  { name: "aircrafts", dataset: "aircrafts_folder", classes: 100 },
  { name: "food101", dataset: "food101_folder", classes: 101 },
  { name: "gtsrb", dataset: "gtsrb_folder", classes: 43 },
  { name: "flowers", dataset: "oxford_flowers_folder", classes: 102 },
  { name: "pets", dataset: "oxford_pets_folder", classes: 37 },
  { name: "cars", dataset: "stanford_cars_folder", classes: 196 },
  { name: "cifar10", dataset: "CIFAR10", source: "torchvision_dataset", classes: 10, train: "flip" },
  { name: "cifar100", dataset: "CIFAR100", source: "torchvision_dataset", classes: 100, train: "flip" },
  { name: "stl10", dataset: "STL10", source: "torchvision_dataset", classes: 10, train: "flip" },
  { name: "svhn", dataset: "SVHN", source: "torchvision_dataset", classes: 10, train: "none", taps: two },
  { name: "eurosat", dataset: "euro_sat_folder", classes: 10, train: "flip", taps: two },
  { name: "resisc45", dataset: "resisc45_folder", classes: 45, train: "flip", taps: two },
  { name: "clevr-count", dataset: "clevr_count_filelist", source: "disk_filelist", classes: 8, train: "square", epochs: 50, rate: cosine(0.01, 1e-4) }, // prettier-ignore
  { name: "clevr-dist", dataset: "clevr_dist_filelist", source: "disk_filelist", classes: 6, train: "square", epochs: 100, rate: cosine(0.01, 1e-4) }, // prettier-ignore
  { name: "dsprites-loc", dataset: "dsprites_loc_folder", classes: 16, train: "none" },
  { name: "dsprites-orient", dataset: "dsprites_orient_folder", classes: 16, train: "none" },
  { name: "ucf101", dataset: "ucf101_folder", classes: 101, train: "square", epochs: 50, rate: cosine(0.01, 1e-4), weightDecay: 0.01, taps: two }, // prettier-ignore
  { name: "sun397", dataset: "sun397_filelist", source: "disk_filelist", classes: 397, train: "square" },
  { name: "pcam", dataset: "pcam_folder", classes: 2, train: "flip", rate: cosine(0.003, 3e-5), base: { value: 0.003 }, taps: two }, // prettier-ignore
  {
    name: "openimages",
    dataset: "openimages_v6",
    source: "everstore",
    classes: 9605,
    epochs: 16,
    rate: { name: "multistep", values: [3e-3, 3e-4, 3e-5, 3e-6], milestones: [2, 4, 6], update_interval: "epoch" },
    base: { value: 0.003, batch: 32, auto: false },
    weightDecay: 1e-4,
    regularizeNorm: true,
    taps: [plainMean],
    perReplica: 16,
    nodes: 8,
    multiLabel: true,
  },
];

const resize = (size: unknown) => ({ name: "Resize", size });
const flip = { name: "RandomHorizontalFlip" };
const ends = [{ name: "ToTensor" }, { name: "Normalize", mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }];
const centre = [resize(256), { name: "CenterCrop", size: 224 }, ...ends];
const chains = {
  rrc: { train: [{ name: "RandomResizedCrop", size: 224 }, flip, ...ends], test: centre },
  alexnet: { train: [resize(256), { name: "RandomCrop", size: 224 }, flip, ...ends], test: centre },
  flip: { train: [resize(224), flip, ...ends], test: [resize(224), ...ends] },
  none: { train: [resize(224), ...ends], test: [resize(224), ...ends] },
  square: { train: [resize([224, 224]), flip, ...ends], test: [resize([224, 224]), ...ends] },
};

/** The file, as VISSL reads it. */
export function benchmarkYaml(file: BenchmarkFile): string {
  const {
    dataset,
    source = "disk_folder",
    classes,
    epochs = 28,
    milestones = [8, 16, 24],
    base = { value: 0.01 },
  } = file;
  const {
    train = "rrc",
    taps = pooled,
    perReplica = 32,
    processes = 8,
    nodes = 1,
    synced = true,
    multiLabel = false,
  } = file;
  const split = (transforms: unknown[]) => ({
    DATA_SOURCES: [source],
    LABEL_SOURCES: [source],
    DATASET_NAMES: [dataset],
    BATCHSIZE_PER_REPLICA: perReplica,
    TRANSFORMS: transforms,
    MMAP_MODE: true,
    COPY_TO_LOCAL_DISK: false,
    COPY_DESTINATION_DIR: "/tmp/data/",
    ...(multiLabel && {
      COLLATE_FUNCTION: "targets_one_hot_default_collator",
      COLLATE_FUNCTION_PARAMS: { num_classes: classes },
    }),
  });
  const loss = multiLabel ? "bce_logits_multiple_output_single_target" : "cross_entropy_multiple_output_single_target";
  const config = {
    VERBOSE: true,
    LOG_FREQUENCY: 200,
    TEST_ONLY: false,
    TEST_EVERY_NUM_EPOCH: 1,
    TEST_MODEL: true,
    SEED_VALUE: file.seed ?? 1,
    MULTI_PROCESSING_METHOD: "forkserver",
    HOOKS: { PERF_STATS: { MONITOR_PERF_STATS: true } },
    DATA: {
      NUM_DATALOADER_WORKERS: 5,
      TRAIN: split(chains[train].train),
      TEST: split(chains[train].test),
    },
    METERS: multiLabel
      ? {
          name: "mean_ap_list_meter",
          enable_training_meter: false,
          mean_ap_list_meter: { num_classes: classes, num_meters: 1 },
        }
      : { name: "accuracy_list_meter", accuracy_list_meter: { num_meters: 5, topk_values: [1, 5] } },
    TRAINER: { TRAIN_STEP_NAME: "standard_train_step" },
    MODEL: {
      FEATURE_EVAL_SETTINGS: {
        EVAL_MODE_ON: true,
        FREEZE_TRUNK_ONLY: true,
        SHOULD_FLATTEN_FEATS: false,
        LINEAR_EVAL_FEAT_POOL_OPS_MAP: taps.map(([tap, pooling]) => [tap, pooling]),
      },
      TRUNK: { NAME: "resnet", RESNETS: { DEPTH: 50 } },
      HEAD: {
        PARAMS: taps.map(([, , head, channels, width]) => [
          head,
          { ...(head === "eval_mlp" && { in_channels: channels }), dims: [width, classes] },
        ]),
      },
      WEIGHTS_INIT: { PARAMS_FILE: "weights of the user", STATE_DICT_KEY_NAME: "classy_state_dict" },
      ...(synced && { SYNC_BN_CONFIG: { CONVERT_BN_TO_SYNC_BN: true, SYNC_BN_TYPE: "apex", GROUP_SIZE: 8 } }),
    },
    LOSS: { name: loss, [loss]: multiLabel ? { reduction: "none", world_size: 64 } : { ignore_index: -1 } },
    OPTIMIZER: {
      name: "sgd",
      weight_decay: file.weightDecay ?? 5e-4,
      momentum: 0.9,
      num_epochs: epochs,
      nesterov: file.nesterov ?? true,
      regularize_bn: file.regularizeNorm ?? false,
      regularize_bias: true,
      param_schedulers: {
        lr: {
          auto_lr_scaling: {
            auto_scale: base.auto ?? true,
            base_value: base.value,
            base_lr_batch_size: base.batch ?? 256,
          },
          ...(file.rate ?? {
            name: "multistep",
            values: [0.01, 1e-3, 1e-4, 1e-5],
            milestones,
            update_interval: "epoch",
          }),
        },
      },
    },
    DISTRIBUTED: {
      BACKEND: "nccl",
      NUM_NODES: nodes,
      NUM_PROC_PER_NODE: processes,
      INIT_METHOD: "tcp",
      RUN_ID: "auto",
    },
    MACHINE: { DEVICE: "gpu" },
    CHECKPOINT: { DIR: ".", AUTO_RESUME: true, CHECKPOINT_FREQUENCY: 1 },
  };
  return `# @package _global_\n${stringify({ config }, { aliasDuplicateObjects: false })}`;
}
