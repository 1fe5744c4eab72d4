import { z } from "zod";

import { counted } from "../progress.js";
import { accountOf, checkFrozen, checkOutside } from "./account.js";
import { visslData } from "./data.js";
import { visslHeads } from "./heads.js";
import { VisslKeys } from "./keys.js";
import { visslOptimizer } from "./optimizer.js";
import { fixedKeys, whyInert } from "./other-keys.js";
import { readVisslConfig } from "./read-config.js";
import { visslTransform } from "./transforms.js";

export interface VisslTranslation {
  /** Settings of `eval-linear`, by their keys. */
  settings: Record<string, unknown>;
  /** What batch size, epochs and rates were meant for: `8 processes x 32 images`. */
  meantFor: string;
  /** Whether the data has to have several labels an image. */
  multiLabel: boolean;
  /** Every key that the configuration gives, in one of the two lists; those that cannot be honoured are an error. */
  used: string[];
  /** Keys and the reason. */
  changesNothing: Record<string, string>;
  /** What VISSL does otherwise. */
  differs: string[];
}

/**
 * A linear evaluation of VISSL's, as settings of `eval-linear`. The backbone is not among them.
 *
 * @param options.file VISSL's YAML.
 * @param options.overrides as VISSL's programs take them: `config.A.B=v`, `+config.A.NEW=v`, `+config/folder=file`.
 * @param options.ownData whether the data is named elsewhere, so that the configuration's is let be.
 * @throws UserError naming key, file and line of what cannot be honoured, and what to do.
 */
export async function translateVissl(options: {
  file: string;
  overrides: readonly string[];
  ownData: boolean;
  cwd: string;
}): Promise<VisslTranslation> {
  const keys = new VisslKeys(await readVisslConfig(options));
  checkOutside(keys);
  checkFrozen(keys);
  const batch = {
    perReplica: keys.get("DATA.TRAIN.BATCHSIZE_PER_REPLICA", count, whole),
    processes: keys.get("DISTRIBUTED.NUM_PROC_PER_NODE", count, whole),
    nodes: keys.get("DISTRIBUTED.NUM_NODES", count, whole),
  };
  const { multiLabel, lossName, labelSmoothing } = lossOf(keys);
  const heads = visslHeads(keys);
  const { differs, ...optimizer } = visslOptimizer(keys, batch);
  const processes = batch.processes * batch.nodes;
  const settings = {
    ...(options.ownData ? undefined : visslData(keys)),
    ...transformsOf(keys),
    ...heads,
    ...optimizer,
    batchSize: [batch.perReplica * processes],
    labelSmoothing,
    seeds: [keys.get("SEED_VALUE", z.int().min(0), "a whole number of at least 0")],
    valFraction: 0,
    checkpointEvery: keys.get("CHECKPOINT.CHECKPOINT_FREQUENCY", count, whole),
  };
  const synced = keys.given("MODEL.SYNC_BN_CONFIG.CONVERT_BN_TO_SYNC_BN") === true;
  if (!synced && processes > 1 && heads.heads.some(({ input }) => input === "batch_norm")) {
    differs.push(`Batch norm of a head sees ${batch.perReplica} images there, the whole batch here.`);
  }
  return {
    settings,
    meantFor: `${counted(processes, "process")} x ${batch.perReplica} images`,
    multiLabel,
    used: keys.used().map((key) => `config.${key}`),
    changesNothing: accountOf(keys, { fixed: fixedKeys, whyInert: (key) => whyInert(key, lossName) }),
    differs,
  };
}

const count = z.int().min(1);
const whole = "a whole number of at least 1";

/** A deterministic chain needs no live features: once extracted, it is always the same. */
function transformsOf(keys: VisslKeys): Record<string, unknown> {
  const transform = visslTransform(keys, "TEST");
  const trainTransform = visslTransform(keys, "TRAIN");
  if (trainTransform === transform) return { transform };
  const random = /random_|hflip/.test(trainTransform);
  return { transform, trainTransform, ...(random ? { features: "live" } : { views: 1 }) };
}

function lossOf(keys: VisslKeys): { multiLabel: boolean; lossName: string; labelSmoothing: number } {
  const single = "cross_entropy_multiple_output_single_target";
  const several = "bce_logits_multiple_output_single_target";
  if (keys.given("LOSS.name") === undefined) {
    throw keys.refusal("LOSS.name", single, "A file without a loss trains no linear heads: it is for another program.");
  }
  const lossName = keys.get("LOSS.name", z.enum([single, several]), `${single} or ${several}`);
  const multiLabel = lossName === several;
  const collator = multiLabel ? "targets_one_hot_default_collator" : "default_collate";
  for (const split of ["TRAIN", "TEST"]) {
    keys.get(`DATA.${split}.COLLATE_FUNCTION`, z.literal(collator), `${collator} beside the loss ${lossName}`);
  }
  const meter = multiLabel ? "mean_ap_list_meter" : "accuracy_list_meter";
  keys.get("METERS.name", z.literal(meter), `${meter} beside the loss ${lossName}`);
  if (multiLabel) return { multiLabel, lossName, labelSmoothing: 0 };
  const told = z.array(z.literal([1, 5]));
  keys.get("METERS.accuracy_list_meter.topk_values", told, "[1, 5] or one of them, which are always told,");
  const smoothing = z.number().min(0).lt(1);
  const labelSmoothing = keys.get(`LOSS.${single}.label_smoothing`, smoothing, "a number in [0, 1)");
  return { multiLabel, lossName, labelSmoothing };
}
