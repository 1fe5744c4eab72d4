/**
 * What programs of training put around a network: the parts of the names before its tensors, e.g. `state_dict/`,
 * `module.` and `encoder_q.` of `state_dict/module.encoder_q.conv1.weight`.
 */
const known: Record<string, string> = {
  state_dict: "saved state",
  model: "saved model",
  model_state: "saved model",
  model_state_dict: "saved model",
  network: "saved model",
  net: "saved model",
  params: "saved parameters",
  classy_state_dict: "ClassyVision",
  base_model: "ClassyVision",
  trunk: "VISSL",
  _feature_blocks: "VISSL",
  module: "DataParallel",
  _orig_mod: "torch.compile",
  backbone: "backbone",
  encoder: "encoder",
  image_encoder: "image encoder",
  vision_model: "image encoder",
  visual: "CLIP's image encoder",
  student: "student",
  teacher: "teacher",
  encoder_q: "MoCo's query encoder",
  encoder_k: "MoCo's key encoder",
  base_encoder: "base encoder",
  momentum_encoder: "momentum encoder",
  online_network: "BYOL's online network",
  online_encoder: "BYOL's online network",
  target_network: "BYOL's target network",
  target_encoder: "target encoder",
  model_ema: "moving average",
  state_dict_ema: "moving average",
  ema: "moving average",
};

export interface Wrapper {
  name: string;
  /** Whose it is, where that is known. */
  meaning?: string;
}

/** @param prefix what stands before a network's tensors. */
export function wrappersOf(prefix: string): Wrapper[] {
  return partsOf(prefix).map((name) => ({ name, meaning: known[name] }));
}

/** Networks that are saved side by side, and which of them the publications evaluate. */
const rivals: { chosen: string[]; left: string[]; reason: string }[] = [
  { chosen: ["teacher"], left: ["student"], reason: "DINO, iBOT and DINOv2 evaluate the teacher" },
  {
    chosen: ["encoder_q", "base_encoder"],
    left: ["encoder_k", "momentum_encoder"],
    reason: "MoCo evaluates the encoder of the queries",
  },
  {
    chosen: ["online_network", "online_encoder", "online"],
    left: ["target_network", "target_encoder", "target"],
    reason: "BYOL evaluates the online network",
  },
  { chosen: ["backbone", "encoder"], left: ["momentum_backbone", "momentum_encoder"], reason: "the publications evaluate the network that is trained, not its moving average" }, // prettier-ignore
  { chosen: ["target_encoder"], left: ["encoder"], reason: "I-JEPA evaluates the target encoder" },
  {
    chosen: ["model_ema", "state_dict_ema", "ema"],
    left: ["model", "state_dict"],
    reason: "where a moving average of a supervised training is saved, it is what was evaluated",
  },
];

/**
 * The network that is evaluated, of several in one checkpoint.
 *
 * @returns its prefix and why it is that one; undefined where no rule tells.
 */
export function publishedChoice(prefixes: readonly string[]): { prefix: string; reason: string } | undefined {
  for (const prefix of prefixes) {
    const reasons = prefixes.filter((other) => other !== prefix).map((other) => reasonFor(prefix, other));
    if (reasons.length > 0 && reasons.every((reason) => reason !== undefined)) return { prefix, reason: reasons[0]! };
  }
  return undefined;
}

function reasonFor(prefix: string, other: string): string | undefined {
  const [mine, theirs] = [partsOf(prefix), partsOf(other)];
  return rivals.find(
    ({ chosen, left }) =>
      chosen.some((name) => mine.includes(name)) &&
      left.some((name) => theirs.includes(name)) &&
      !chosen.some((name) => theirs.includes(name)),
  )?.reason;
}

function partsOf(prefix: string): string[] {
  return prefix.split(/[./]/).filter((part) => part !== "");
}
