import { mkdtempSync, writeFileSync } from "node:fs";
import path from "node:path";

import type { Checkpoint } from "../../lib/checkpoints/checkpoint.js";
import type { TensorEntry } from "../../lib/checkpoints/tensor.js";
import { readLabel } from "../../lib/convert/network-label.js";
import { UserError } from "../../lib/errors.js";
import { recogniseArchitecture } from "../../models/index.js";
import { temporaryFolder } from "../command-line.js";
import { golden } from "../golden.js";

type Shapes = Record<string, number[]>;

const published = golden<Record<string, Shapes>>("convert/convnet-shapes.json");
const folder = temporaryFolder();

interface Told {
  file?: string;
  values?: Record<string, string>;
  /** Files in the same folder. */
  beside?: Record<string, unknown>;
  dtype?: TensorEntry["dtype"];
}

function checkpoint(
  shapes: Shapes,
  { file = "weights.pth", values = {}, beside = {}, dtype = "float32" }: Told = {},
): Checkpoint {
  // prettier-ignore
  const dir = mkdtempSync(path.join(folder, "checkpoint-"));
  for (const [name, content] of Object.entries(beside)) writeFileSync(path.join(dir, name), JSON.stringify(content));
  const read = () => Promise.resolve(new Float32Array());
  const tensors = new Map(Object.entries(shapes).map(([name, shape]) => [name, { shape, dtype, read }]));
  return { file: path.join(dir, file), format: "torch-zip", tensors, values: new Map(Object.entries(values)) };
}

async function found(one: Checkpoint, arch?: string) {
  const label = await readLabel({ checkpoint: one, name: path.basename(one.file) });
  const { architecture } = recogniseArchitecture({ checkpoint: one, label, arch });
  return { arch: architecture.arch, assumptions: architecture.assumptions ?? [] };
}

describe("timm's own networks and its ports of TensorFlow's have the same tensors", () => {
  const b1 = published["timm efficientnet_b1"]!;

  test.each([
    ["the file's name", { file: "tf_efficientnet_b1_aa-827b6e33.pth" }, "tf_efficientnet_b1"],
    ["the file's name", { file: "efficientnet_b1_ra-3dd342df.pth" }, "efficientnet_b1"],
    ["what the training saved", { values: { arch: "tf_efficientnet_b1" } }, "tf_efficientnet_b1"],
    ["metadata", { values: { "__metadata__/architecture": "efficientnet_b1" } }, "efficientnet_b1"],
  ])("%s tells: %j", async (_, told, arch) => {
    expect(await found(checkpoint(b1, told))).toEqual({ arch, assumptions: [] });
  });

  test("a configuration beside the file tells; one that is none does not", async () => {
    const beside = { "config.json": { architecture: "tf_efficientnet_b1" } };
    expect((await found(checkpoint(b1, { beside }))).arch).toBe("tf_efficientnet_b1");
    expect((await found(checkpoint(b1, { beside: { "config.json": ["tf_efficientnet_b1"] } }))).arch).toBe(
      "efficientnet_b1",
    );
  });

  test("where nothing tells, what was assumed is said; the user's word counts more", async () => {
    expect(await found(checkpoint(b1))).toEqual({
      arch: "efficientnet_b1",
      assumptions: [expect.stringContaining("--arch tf_efficientnet_b1")],
    });
    const named = checkpoint(b1, { file: "efficientnet_b1.pth" });
    expect(await found(named, "tf_efficientnet_b1")).toEqual({ arch: "tf_efficientnet_b1", assumptions: [] });
    const small = published["timm mobilenetv3_small_050"]!;
    expect((await found(checkpoint(small))).assumptions).toEqual([
      expect.stringContaining("--arch tf_mobilenetv3_small"),
    ]);
    expect(await found(checkpoint(small, { file: "tf_mobilenetv3_small_100-37f49e2b.pth" }))).toEqual({
      arch: "tf_mobilenetv3_small",
      assumptions: [],
    });
  });
});

describe("CLIP's activation is in no tensor", () => {
  const clip: Shapes = {
    "visual.class_embedding": [768],
    "visual.conv1.weight": [768, 3, 32, 32],
    "visual.positional_embedding": [50, 768],
    ...Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`visual.transformer.resblocks.${i}.attn.in_proj_weight`, [2304, 768]])), // prettier-ignore
  };
  const quick = "clip_vit_base_patch32_quickgelu";
  const exact = "clip_vit_base_patch32";

  test.each([
    ["OpenAI's TorchScript archive", { ...clip, input_resolution: [] }, {}, quick],
    ["the file's name", clip, { file: "vit_b_32-quickgelu-laion400m_e31-d867053b.pt" }, quick],
    [
      "OpenCLIP's configuration",
      clip,
      { beside: { "open_clip_config.json": { model_cfg: { quick_gelu: true } } } },
      quick,
    ],
    [
      "OpenCLIP's configuration",
      clip,
      { dtype: "float16", beside: { "open_clip_config.json": { model_cfg: {} } } },
      exact,
    ],
  ] as [string, Shapes, Told, string][])("%s tells", async (_, shapes, told, arch) => {
    expect(await found(checkpoint(shapes, told))).toEqual({ arch, assumptions: [] });
  });

  test("where nothing tells, half precision is taken for OpenAI's, and it is said", async () => {
    expect(await found(checkpoint(clip))).toEqual({
      arch: exact,
      assumptions: [expect.stringContaining(`--arch ${quick}`)],
    });
    expect(await found(checkpoint(clip, { dtype: "float16" }))).toEqual({
      arch: quick,
      assumptions: [expect.stringContaining(`--arch ${exact}_gelu`)],
    });
  });
});

describe("--arch", () => {
  const vit: Shapes = {
    "patch_embed.proj.weight": [48, 3, 16, 16],
    pos_embed: [1, 17, 48],
    cls_token: [1, 1, 48],
    "blocks.0.norm1.weight": [48],
    "blocks.1.norm1.weight": [48],
  };

  test("takes any name that a family understands", async () => {
    expect((await found(checkpoint(vit), "vit_48x2_patch16")).arch).toBe("vit_48x2_patch16");
    expect((await found(checkpoint(vit), "vit_48x2_patch16_heads4")).arch).toBe("vit_48x2_patch16_heads4");
  });

  test("tells of one that none understands, or that has other tensors, in a few lines", async () => {
    const complaint = async (arch: string) => {
      const error: unknown = await found(checkpoint(vit), arch).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(UserError);
      return error as UserError;
    };
    const unknown = await complaint("vit_bsae_patch16");
    expect(unknown.message).toBe('Expected a known architecture but received "vit_bsae_patch16"');
    expect(unknown.hint).toMatch(/^Did you mean vit_base_patch16/);
    const { hint } = await complaint("inception");
    expect(hint).toMatch(/^There are families of resnet18, .*; docs\/convert.md names them all\.$/);
    expect(hint!.length).toBeLessThan(600);
    const other = await complaint("resnet50");
    expect(other.message).toMatch(/^Expected the tensors of resnet50 in .* but received 5 tensors/);
    expect(other.hint).toBe("They are those of vit_48x2_patch16.");
    expect((await complaint("vit_48x2_patch16_foo")).message).toMatch(/a known architecture/);
  });
});
