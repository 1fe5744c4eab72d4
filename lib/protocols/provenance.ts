import os from "node:os";

import * as tf from "@tensorflow/tfjs";

import { currentBackend } from "../backend/backend.js";
import { packageVersion } from "../package.js";
import type { ResultRecord } from "../results/record.js";

/** What computed a result. */
export function describeMachine(): ResultRecord["machine"] {
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
export function describeSoftware(): ResultRecord["software"] {
  return { frozenEval: packageVersion(), tfjs: tf.version_core, node: process.versions.node };
}
