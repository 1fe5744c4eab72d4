/** Keys that change nothing here, each with the reason; the first pattern that fits counts. */
export function whyInert(key: string, lossName: string): string | undefined {
  if (key.startsWith("LOSS.") && !key.startsWith(`LOSS.${lossName}.`)) return "of another loss";
  return inert.find(([pattern]) => pattern.test(key))?.[1];
}

const inert: [pattern: RegExp, why: string][] = [
  [/^(VERBOSE|LOG_FREQUENCY|MONITOR_PERF_STATS)$/, "logging"],
  [/^HOOKS\.(PERF_STATS|MEMORY_SUMMARY|LOG_GPU_STATS|MODEL_COMPLEXITY|TENSORBOARD_SETUP|CHECK_NAN)(\.|$)/, "logging"],
  [/^(MONITORING|PROFILING|REPRODUCIBILITY)\./, "logging"],
  [/^(SLURM|EXTRACT_FEATURES|SVM|NEAREST_NEIGHBOR|IMG_RETRIEVAL|CLUSTERFIT|DISTILLATION)\./, "of another program"],
  [/^TEST_EVERY_NUM_EPOCH$/, "the last epoch is told"],
  [/^MULTI_PROCESSING_METHOD$/, "one machine"],
  [/^MACHINE\.DEVICE$/, "--device decides"],
  [/^DISTRIBUTED\.(?!NUM_)/, "one machine"],
  [/^DATA\.(NUM_DATALOADER_WORKERS|PIN_MEMORY|ENABLE_ASYNC_GPU_COPY|DDP_BUCKET_CAP_MB)$/, "--workers decides"],
  [
    /^DATA\.(TRAIN|TEST)\.(MMAP_MODE|COPY_TO_LOCAL_DISK|COPY_DESTINATION_DIR|ENABLE_QUEUE_DATASET)$/,
    "how files are read",
  ],
  [/^DATA\.(TRAIN|TEST)\.(DATASET_NAMES|DATA_SOURCES|DATA_PATHS|LABEL_SOURCES|LABEL_PATHS)$/, "--data decides"],
  [/^DATA\.(TRAIN|TEST)\.(DEFAULT_GRAY_IMG_SIZE)$/, "no image is made up"],
  [/^DATA\.(TRAIN|TEST)\.(INPUT_KEY_NAMES|TARGET_KEY_NAMES|BASE_DATASET)$/, "of the loader"],
  [/^DATA\.(TRAIN|TEST)\.COLLATE_FUNCTION_PARAMS(\.num_classes)?$/, "the data tells"],
  [/^DATA\.TEST\.BATCHSIZE_PER_REPLICA$/, "tests do not depend on it"],
  [/^METERS\.(enable_training_meter|\w+\.(num_meters|meter_names|num_classes|max_cpu_capacity))$/, "the heads tell"],
  [/^METERS\.\w+\./, "of another meter"],
  [/^MODEL\.TRUNK\./, "--backbone decides"],
  [/^MODEL\.WEIGHTS_INIT\./, "convert it: --backbone"],
  [/^MODEL\.SYNC_BN_CONFIG\./, "the whole batch is seen"],
  [/^MODEL\.AMP_PARAMS\./, "computed in float32"],
  [/^MODEL\.(FSDP_CONFIG|SHARDED_DDP_SETUP|ACTIVATION_CHECKPOINTING|CUDA_CACHE)\./, "memory of GPUs"],
  [/^MODEL\.FEATURE_EVAL_SETTINGS\.(SHOULD_FLATTEN_FEATS|ASSERT_HEAD_LAYER_SHAPE_INIT)$/, "heads flatten themselves"],
  [/^LOSS\.cross_entropy_multiple_output_single_target\.reduction$/, "VISSL does not read it"],
  [/^LOSS\.bce_logits_multiple_output_single_target\.world_size$/, "one machine"],
  [/^OPTIMIZER\.use_zero$/, "memory of GPUs"],
  [/^OPTIMIZER\.larc_config\./, "without LARC"],
  [/^OPTIMIZER\.(betas|momentum|nesterov)$/, "of another optimizer"],
  [/^OPTIMIZER\.layer_wise_lr_decay\./, "the trunk is frozen"],
  [/^OPTIMIZER\.(weight_decay|head_optimizer_params\.weight_decay)$/, "not of the heads"],
  [/^OPTIMIZER\.param_schedulers\.lr(_head)?\./, "not of this schedule"],
  [/^TRAINER\.TRAIN_STEP_NAME$/, "one step is known"],
  [/^CHECKPOINT\.DIR$/, "--out decides"],
  [/^CHECKPOINT\./, "runs go on by themselves"],
];

/** Keys that hold here as one value alone, and what to do about another. */
export const fixedKeys: Record<string, { value: unknown; hint: string }> = {
  TEST_ONLY: { value: false, hint: "Heads are trained; a trained one is judged by its own run." },
  TEST_MODEL: { value: true, hint: "The heads are judged at the end." },
  "TRAINER.TRAIN_STEP_NAME": { value: "standard_train_step", hint: "Other steps are for pretraining." },
  "HOOKS.EMA_MODEL.SAVE_EMA_MODEL": { value: false, hint: "Averaged weights are not there." },
  "HOOKS.EMA_MODEL.ENABLE_EMA_METERS": { value: false, hint: "Averaged weights are not there." },
  "MODEL.BASE_MODEL_NAME": { value: "multi_input_output_model", hint: "Other models are for pretraining." },
  "MODEL.HEAD.BATCHNORM_EPS": { value: 1e-5, hint: "Batch norm has ε 1e-5 here." },
  "MODEL.HEAD.BATCHNORM_MOMENTUM": { value: 0.1, hint: "Batch norm has momentum 0.1 here." },
  "MODEL.HEAD.PARAMS_MULTIPLIER": { value: 1, hint: "Initial weights are not scaled here; only PyTorch's are there." },
  "MODEL.GRAD_CLIP.USE_GRAD_CLIP": { value: false, hint: "Gradients are not clipped here." },
  "MODEL.NON_TRAINABLE_PARAMS": { value: [], hint: "The trunk is frozen, heads are trained." },
  "MODEL.TEMP_FROZEN_PARAMS_ITER_MAP": { value: [], hint: "Heads are trained from the first step." },
  "MODEL.MULTI_INPUT_HEAD_MAPPING": { value: [], hint: "An image is one input." },
  "MODEL.SINGLE_PASS_EVERY_CROP": { value: false, hint: "An image is one input." },
  "MODEL.FEATURE_EVAL_SETTINGS.FREEZE_TRUNK_AND_HEAD": { value: false, hint: "Heads are trained." },
  "MODEL.FEATURE_EVAL_SETTINGS.EXTRACT_TRUNK_FEATURES_ONLY": {
    value: false,
    hint: "Features alone are what extract-features writes.",
  },
  "MODEL.FEATURE_EVAL_SETTINGS.EVAL_TRUNK_AND_HEAD": { value: false, hint: "Heads are trained." },
  "LOSS.cross_entropy_multiple_output_single_target.ignore_index": {
    value: -1,
    hint: "Labels of -1 are left out here; others mean a class.",
  },
  "LOSS.cross_entropy_multiple_output_single_target.temperature": {
    value: 1,
    hint: "There is no temperature here; divide --lr and the initial weights yourself, or leave it at 1.",
  },
  "LOSS.cross_entropy_multiple_output_single_target.normalize_output": {
    value: false,
    hint: "Scores are not normalised here.",
  },
  "LOSS.cross_entropy_multiple_output_single_target.weight": { value: null, hint: "Classes weigh the same here." },
  "LOSS.bce_logits_multiple_output_single_target.reduction": {
    value: "none",
    hint: "The loss is summed over classes and averaged over the known images of each, which none gives.",
  },
  "LOSS.bce_logits_multiple_output_single_target.normalize_output": {
    value: false,
    hint: "Scores are not normalised here.",
  },
  "OPTIMIZER.non_regularized_parameters": {
    value: [],
    hint: "Weight decay goes by regularize_bn and regularize_bias.",
  },
  "OPTIMIZER.construct_single_param_group_only": { value: false, hint: "Weight decay goes by parameter groups." },
  "OPTIMIZER.param_group_constructor": { value: "default", hint: "Weight decay goes by VISSL's default groups." },
  ...ofSplit("TRAIN"),
  ...ofSplit("TEST"),
};

function ofSplit(split: "TRAIN" | "TEST"): typeof fixedKeys {
  const key = (name: string) => `DATA.${split}.${name}`;
  const images = "All images are used, each once an epoch; make the data smaller yourself.";
  return {
    [key("LABEL_TYPE")]: { value: "standard", hint: "Labels are those of the data." },
    [key("DROP_LAST")]: { value: false, hint: "The last images of an epoch are a batch too." },
    [key("DATA_LIMIT")]: { value: -1, hint: images },
    [key("USE_DEBUGGING_SAMPLER")]: { value: false, hint: images },
    [key("STRATIFIED_SAMPLER.ENABLED")]: { value: false, hint: images },
    [key("POWER_LAW_SAMPLER.ENABLED")]: { value: false, hint: images },
    [key("USE_STATEFUL_DISTRIBUTED_SAMPLER")]: { value: false, hint: images },
    [key("RANDOM_SYNTHETIC_IMAGES")]: { value: false, hint: "Images are those of the data." },
    [key("REMOVE_IMG_PATH_PREFIX")]: { value: "", hint: "Write the paths of the list as they are." },
    [key("NEW_IMG_PATH_PREFIX")]: { value: "", hint: "Write the paths of the list as they are." },
  };
}
