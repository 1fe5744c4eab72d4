import path from "node:path";

import { wrappersOf } from "./wrappers.js";

/** Programs whose checkpoints are known by what they wrap a network in. */
const programs: Record<string, string> = {
  base_encoder: "moco_v3",
  encoder_q: "moco",
  _feature_blocks: "vissl",
  teacher: "dino",
  online_network: "byol",
  online_encoder: "byol",
  visual: "clip",
};

const extensions = /(\.(pth|pt|tar|bin|ckpt|torch|th|safetensors|npz|pkl|onnx|json))+$/i;
const general = /^(checkpoint|model|weights|pytorch_model|model_final|model_best|best|last|final|state_dict)?$/i;

/**
 * A title for a backbone that the user gave none: the file's name without architecture, epochs and the like; the
 * program that wrote it, where the file is called `checkpoint` or so.
 *
 * `moco_v2_800ep_pretrain.pth.tar` and `moco_v2_resnet50.pth` give `moco_v2`.
 */
export function proposeTitle(options: { file: string; arch: string; prefix: string }): string {
  const { file, arch, prefix } = options;
  const begin = path.basename(file).replace(extensions, "").replaceAll(/[^A-Za-z0-9._-]+/g, "_"); // prettier-ignore
  const name = [
    /[-_][0-9a-f]{8}$/,
    /[-_](pretrain(ed)?|full_checkpoint|checkpoint|backbone|ckpt)$/i,
    /[-_]?\d+ep(ochs?)?$/i,
    architecturePattern(arch),
    /[-_]?\d+ep(ochs?)?$/i,
  ].reduce((text, pattern) => text.replace(pattern, ""), begin);
  const trimmed = name.replaceAll(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, "");
  if (!general.test(trimmed)) return trimmed;
  const program = wrappersOf(prefix).flatMap((wrapper) => programs[wrapper.name] ?? [])[0];
  return program ?? (trimmed || "checkpoint");
}

/** `resnet50` is also written `ResNet-50`, `rn50` and `r50`. */
function architecturePattern(arch: string): RegExp {
  const parts = arch.split(/[._-]|(?<=[a-z])(?=\d)/).map((part) => part.replaceAll(/[^a-z0-9]/gi, ""));
  const written = parts.join("[-_.]?");
  const short = /^resnet(\d+)$/.exec(arch)?.[1];
  return new RegExp(`(^|[-_.])(${written}${short ? `|rn?[-_]?${short}` : ""})(?=[-_.]|$)`, "i");
}
