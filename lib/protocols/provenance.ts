import os from "node:os";

import * as tf from "@tensorflow/tfjs";

import { currentBackend } from "../backend/backend.js";
import type { FeatureSet } from "../features/feature-set.js";
import { packageVersion } from "../package.js";
import type { ResultRecord } from "../results/record.js";

/** What computed a result. */
function describeMachine(): ResultRecord["machine"] {
  const backend = currentBackend();
  return {
    cpu: os.cpus()[0]?.model.trim() ?? "unknown",
    cores: os.availableParallelism(),
    backend: tf.getBackend(),
    tensorflow: backend?.tensorflow ?? null,
    device: backend?.gpu ?? backend?.device ?? tf.getBackend(),
    threads: backend?.threads,
  };
}

/** The versions that a result depends on. */
function describeSoftware(): ResultRecord["software"] {
  return { frozenEval: packageVersion(), tfjs: tf.version_core, node: process.versions.node };
}

/** Records name their classes up to so many. */
const mostNamed = 1000;

/**
 * What the records of all protocols have alike: what was asked for and of which features, images that were left out,
 * times up to now, machine and software.
 *
 * @param options.resolved all settings as they were used.
 * @param options.classes their names.
 */
export function provenance(options: {
  protocol: ResultRecord["protocol"];
  resolved: object;
  features: FeatureSet;
  classes: string[];
  splits: ResultRecord["data"]["splits"];
  startedAt: Date;
  trainSeconds: number;
}): Omit<ResultRecord, "seeds" | "selection" | "results"> {
  const { protocol, resolved, features, classes, splits, startedAt, trainSeconds } = options;
  const { images, seconds, ...how } = features.extraction;
  const finishedAt = new Date();
  return {
    format: 1,
    protocol,
    settings: JSON.parse(JSON.stringify(resolved)) as ResultRecord["settings"],
    backbone: features.backbone,
    data: {
      ...features.data,
      classes: { count: classes.length, names: classes.length <= mostNamed ? classes : undefined },
      splits,
    },
    badImages: { skipped: features.skipped.length, list: features.skipped },
    timings: {
      extract: seconds,
      train: trainSeconds,
      total: (finishedAt.getTime() - startedAt.getTime()) / 1000 + seconds,
      imagesPerSecond: images > 0 ? images / seconds : null,
      ...how,
    },
    machine: describeMachine(),
    software: describeSoftware(),
    startedAt: startedAt.toISOString(),
    finishedAt: finishedAt.toISOString(),
  };
}
