import path from "node:path";

import { z } from "zod";

import type { Checkpoint } from "../checkpoints/checkpoint.js";
import { readJson } from "../files.js";

/** What is told of a checkpoint's network besides its tensors. Networks may differ and have the same tensors. */
export interface NetworkLabel {
  /** That it goes by: the file's, those of a configuration beside it, and of what the training program saved with it. */
  names: readonly string[];
  /** Of CLIP's blocks. */
  activation?: "gelu" | "quick_gelu";
}

/** Where programs save the name of the network that they train: timm's, and those that keep their arguments. */
const savedNames = ["arch", "model_name", "args/arch", "args/model", "__metadata__/architecture", "__metadata__/arch"];

/** Of Hugging Face's repositories: timm's tell the architecture, those of transformers the activation. */
const configSchema = z.object({
  architecture: z.string().optional(),
  model_type: z.string().optional(),
  hidden_act: z.string().optional(),
  vision_config: z.object({ hidden_act: z.string().optional() }).optional(),
});

const openClipSchema = z.object({ model_cfg: z.object({ quick_gelu: z.boolean().optional() }) });

/** @param options.name what the file is called where it comes from. */
export async function readLabel(options: { checkpoint: Checkpoint; name: string }): Promise<NetworkLabel> {
  const { file, tensors, values } = options.checkpoint;
  const config = await beside(file, "config.json", configSchema);
  const openClip = await beside(file, "open_clip_config.json", openClipSchema);
  const saved = savedNames.map((name) => values.get(name)).filter((value) => typeof value === "string");
  const names = [options.name, path.basename(file), ...saved, config?.architecture].filter(
    (name) => name !== undefined,
  );
  // OpenAI's archives of TorchScript hold this beside the weights.
  const isOpenAi = tensors.has("input_resolution");
  const activation = openClip ? gelu(openClip.model_cfg.quick_gelu) : isOpenAi ? "quick_gelu" : activationOf(config);
  return { names: [...new Set(names)], activation };
}

/** Where a configuration of transformers does not say it, CLIP's is the quick one. */
function activationOf(config: z.infer<typeof configSchema> | undefined): NetworkLabel["activation"] {
  if (config?.model_type?.startsWith("clip") !== true) return undefined;
  return gelu((config.vision_config?.hidden_act ?? config.hidden_act ?? "quick_gelu") === "quick_gelu");
}

function gelu(quick = false): NetworkLabel["activation"] {
  return quick ? "quick_gelu" : "gelu";
}

/** What the file of that name says in the checkpoint's folder; undefined where it is none, or another program's. */
async function beside<T>(file: string, name: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const json = await readJson(path.join(path.dirname(file), name), "a configuration").catch(() => undefined);
  return schema.safeParse(json).data;
}
