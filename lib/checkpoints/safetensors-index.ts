import path from "node:path";

import { expected, UserError } from "../errors.js";
import { inside, readJson } from "../files.js";
import { damaged } from "./bytes.js";
import { namedTensors } from "./format.js";
import type { CheckpointFormat } from "./format.js";
import { tensorOf } from "./safetensors-checkpoint.js";
import { safetensorsHeader } from "./safetensors-header.js";
import type { SafetensorsHeader } from "./safetensors-header.js";
import type { TensorEntry } from "./tensor.js";

/**
 * A checkpoint in several safetensors files: `model.safetensors.index.json` tells in which of the files beside it each
 * tensor is (`weight_map`).
 */
export const safetensorsIndex: CheckpointFormat = {
  name: "safetensors-index",
  recognises: (head) => /^\s*\{[^]*"weight_map"\s*:/.test(Buffer.from(head).toString("latin1")),
  read: async (file) => {
    const index = await readJson(file, "the index of a checkpoint");
    const map = (index as Record<string, unknown>).weight_map;
    if (typeof map !== "object" || map === null || Array.isArray(map)) {
      throw damaged(file, "its weight_map does not tell where the tensors are");
    }
    const shards = new Map<string, SafetensorsHeader>();
    const tensors = new Map<string, TensorEntry>();
    for (const [name, shard] of Object.entries(map)) {
      if (typeof shard !== "string" || !shard.endsWith(".safetensors")) {
        throw expected("safetensors files", `the weight_map of ${file}`, typeof shard === "string" ? shard : name);
      }
      const header = shards.get(shard) ?? (await safetensorsHeader(inside(path.dirname(file), shard)));
      shards.set(shard, header);
      const array = header.arrays.get(name);
      if (!array) throw new UserError(`Expected the tensor ${name} in ${shard}, as ${file} tells, but it is not there`);
      tensors.set(name, tensorOf(array));
    }
    checkOnce(file, shards);
    return namedTensors(tensors);
  },
};

function checkOnce(file: string, shards: ReadonlyMap<string, SafetensorsHeader>): void {
  const places = new Map<string, string>();
  for (const [shard, { arrays }] of shards) {
    for (const name of arrays.keys()) {
      const other = places.get(name);
      if (other !== undefined) throw damaged(file, `${name} is both in ${other} and in ${shard}`);
      places.set(name, shard);
    }
  }
}
