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
  };
}

/** The versions that a result depends on. */
function describeSoftware(): ResultRecord["software"] {
  return { frozenEval: packageVersion(), tfjs: tf.version_core, node: process.versions.node };
}

/** What every record ends with: images that were left out, times up to now, machine and software. */
export function provenance(options: { features: FeatureSet; startedAt: Date; trainSeconds: number }) {
  const { features, startedAt, trainSeconds } = options;
  const { images, seconds } = features.extraction;
  const finishedAt = new Date();
  return {
    badImages: { skipped: features.skipped.length, list: features.skipped },
    timings: {
      extract: seconds,
      train: trainSeconds,
      total: (finishedAt.getTime() - startedAt.getTime()) / 1000 + seconds,
      imagesPerSecond: images > 0 ? images / seconds : null,
    },
    machine: describeMachine(),
    software: describeSoftware(),
    startedAt: startedAt.toISOString(),
    finishedAt: finishedAt.toISOString(),
  };
}
