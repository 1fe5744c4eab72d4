import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { readCheckpoint, type Checkpoint } from "../../lib/checkpoints/checkpoint.js";
import { convertCheckpoint } from "../../lib/convert/convert.js";
import { families, recogniseArchitecture } from "../../models/index.js";
import { describeOnBackends } from "../backends.js";
import { golden, goldenPath } from "../golden.js";
import { buildNetwork, goldenImages, storedImages, tapErrors, type Images } from "./taps.js";

const taps4 = ["conv1", "res1", "res2", "res3", "res4", "res5", "res5avg", "logits"];
const taps3 = ["conv1", "res2", "res3", "res4", "res4avg", "logits"];
const withoutPool = taps4.filter((tap) => tap !== "res1");

interface Case {
  name: string;
  images: Images;
  taps: string[];
  found: string;
  arch?: string;
  /** Other names for its tensors. */
  rename?: (name: string) => string;
}

// Networks of bench/peers/golden_resnets.py.
const networks: Case[] = [
  { name: "resnext", images: goldenImages(1, 48), taps: taps4, found: "resnext17w0.0625_4x64d" },
  {
    name: "byol",
    images: goldenImages(1, 64),
    taps: taps4,
    found: "byol_resnet14w0.0625",
    arch: "byol_resnet14w0.0625",
  },
  { name: "deep_stem", images: goldenImages(1, 72), taps: taps4, found: "resnet14dw0.0625" },
  { name: "simclr", images: goldenImages(1, 64), taps: taps4, found: "simclrv2_resnet17w0.0625" },
  { name: "cifar_a", images: goldenImages(1, 32), taps: taps3, found: "resnet20" },
  { name: "cifar_b", images: goldenImages(1, 32), taps: taps3, found: "resnet20" },
  {
    name: "vgg_bn",
    images: goldenImages(1, 224),
    taps: ["pool3", "pool4", "pool5", "fc6", "fc7", "logits"],
    found: "vgg11_bn",
  },
  {
    name: "vgg_cifar",
    images: goldenImages(1, 32),
    taps: ["pool3", "pool4", "pool5", "fc6", "fc7", "logits"],
    found: "vgg11",
  },
  { name: "regnet_y", images: goldenImages(1, 48), taps: withoutPool, found: "regnet_y" },
  { name: "regnet_y", images: goldenImages(1, 48), taps: withoutPool, found: "regnet_y", rename: asTimm },
  { name: "regnet_y", images: goldenImages(1, 48), taps: withoutPool, found: "regnet_y", rename: asClassyVision },
  { name: "regnet_y", images: goldenImages(1, 48), taps: withoutPool.slice(0, -1), found: "regnet_y", rename: asVissl },
  {
    name: "clip",
    images: goldenImages(2, 64),
    taps: ["conv1", "res1", "res2", "res3", "res4", "res5", "res5avg", "attnpool"],
    found: "clip_resnet_w4",
  },
];

function asTimm(name: string): string {
  return name
    .replace(/^stem\.0\./, "stem.conv.")
    .replace(/^stem\.1\./, "stem.bn.")
    .replace(/^trunk_output\.block(\d)\.block\d-(\d+)\./, (_, stage: string, i: string) => `s${stage}.b${+i + 1}.`)
    .replace(/\.(?:f\.([abc])|(proj))\.([01])\./, (_, part: string | undefined, proj: string, index: string) => {
      const layer = part ? `conv${"abc".indexOf(part) + 1}` : proj && "downsample";
      return `.${layer}.${index === "0" ? "conv" : "bn"}.`;
    })
    .replace(".f.se.", ".se.")
    .replace(/^fc\./, "head.fc.");
}

function asClassyVision(name: string): string {
  return name
    .replace(".f.se.fc1.", ".f.se.excitation.0.")
    .replace(".f.se.fc2.", ".f.se.excitation.2.")
    .replace(".f.c.0.", ".f.c.")
    .replace(".f.c.1.", ".f.final_bn.")
    .replace(".proj.0.", ".proj.")
    .replace(".proj.1.", ".bn.");
}

function asVissl(name: string): string {
  return asClassyVision(name)
    .replace(/^stem\./, "trunk._feature_blocks.conv1.")
    .replace(/^trunk_output\.block(\d)\./, (_, stage: string) => `trunk._feature_blocks.res${+stage + 1}.`)
    .replace(/^fc\./, "heads.0.clf.0.");
}

async function checkpointOf({ name, rename = (own) => own }: Case) {
  const checkpoint = await readCheckpoint({ file: goldenPath(`convert/resnets/${name}/weights.pth`) });
  const tensors = new Map([...checkpoint.tensors].map(([own, tensor]) => [rename(own), tensor]));
  return { file: checkpoint.file, tensors };
}

describeOnBackends("a residual network or VGG", () => {
  test.each(networks.map((one) => [`${one.name} as ${one.rename?.name ?? "it is"}`, one] as const))(
    "%s equals PyTorch at each tap",
    async (_, one) => {
      const folder = goldenPath(`convert/resnets/${one.name}`);
      const errors = await tapErrors({ ...one, folder, checkpoint: await checkpointOf(one) });
      expect(Math.max(...Object.values(errors))).toBeLessThan(1e-4);
    },
  );

  test.each(["resnet_bottleneck", "resnet_basic"])("torchvision's %s, of odd sizes too, at each tap", async (name) => {
    const folder = goldenPath(`checkpoints/models/${name}`);
    const stored = Object.fromEntries(taps4.map((tap) => [tap, `taps/${tap === "logits" ? "fc" : tap}`]));
    const images = await storedImages(path.join(folder, "input_nhwc.npy"));
    const errors = await tapErrors({ folder, images, taps: taps4, stored });
    expect(Math.max(...Object.values(errors))).toBeLessThan(1e-4);
  });

  test.each(["moco_checkpoint.pth.tar", "vissl_model_final.torch"])("the network within %s", async (name) => {
    const folder = goldenPath("checkpoints/models/resnet_bottleneck");
    const taps = taps4.slice(0, -1);
    const stored = Object.fromEntries(taps.map((tap) => [tap, `taps/${tap}`]));
    const images = await storedImages(path.join(folder, "input_nhwc.npy"));
    const checkpoint = await readCheckpoint({ file: goldenPath(`checkpoints/files/${name}`) });
    const errors = await tapErrors({ folder, images, taps, stored, checkpoint });
    expect(Math.max(...Object.values(errors))).toBeLessThan(1e-4);
  });
});

describe("what is found in a checkpoint", () => {
  test.each(networks.map((one) => [one.name, one] as const))("%s by its names and shapes", async (_, one) => {
    const checkpoint = await checkpointOf(one);
    const { architecture, unused } = buildNetwork({ checkpoint, images: one.images, arch: one.arch });
    expect(architecture.arch).toBe(one.found);
    const reasons = new Set(unused.filter(({ name }) => !name.startsWith("heads.")).map(({ reason }) => reason));
    // A VGG without batch norm has no counters.
    expect([...reasons]).toEqual(one.name === "vgg_cifar" ? [] : ["counts the steps of training"]);
  });

  // Names and shapes of torchvision's networks.
  const published = golden<Record<string, Record<string, number[]>>>("convert/resnets/shapes.json");
  test.each(Object.keys(published))("torchvision's %s by name", (arch) => {
    const { architecture } = recogniseArchitecture({ checkpoint: shapesOnly(published[arch]!) });
    expect(architecture.arch).toBe(arch);
    expect(architecture.input).toEqual({ height: 224, width: 224 });
  });

  test("no family takes another's checkpoint", () => {
    for (const shapes of Object.values(published)) {
      const { tensors } = shapesOnly(shapes);
      expect(families.filter((family) => family.recognise(tensors) !== undefined)).toHaveLength(1);
    }
  });

  test("VISSL's poolings at 224 pixels, and the mean at others", async () => {
    const checkpoint = await readCheckpoint({ file: goldenPath("checkpoints/files/vissl_model_final.torch") });
    const poolingsAt = (side: number) =>
      buildNetwork({ checkpoint, images: { shape: [1, side, side, 3] } }).graph.taps.map(({ pooling }) => pooling);
    expect(poolingsAt(224)).toEqual([
      "avg_pool(10x10,10,4)",
      "avg",
      "avg_pool(16x16,8,0)",
      "avg_pool(13x13,5,0)",
      "avg_pool(8x8,3,0)",
      "avg_pool(6x6,1,0)",
      "identity",
    ]);
    expect(new Set(poolingsAt(64))).toEqual(new Set(["avg", "identity"]));
  });

  test("a network for CIFAR takes images of 32 pixels with the statistics of its classes", async () => {
    const transformOf = async (name: string) => {
      const checkpoint = await checkpointOf(networks.find((one) => one.name === name)!);
      return recogniseArchitecture({ checkpoint }).architecture.transform;
    };
    expect(await transformOf("cifar_a")).toBe("normalize(imagenet)");
    expect(await transformOf("cifar_b")).toBe("normalize(mean=0.507/0.4865/0.4409,std=0.2673/0.2564/0.2761)");
    expect(await transformOf("vgg_cifar")).toBe("normalize(mean=0.4914/0.4822/0.4465,std=0.2023/0.1994/0.201)");
  });
});

describe("what is refused", () => {
  test.each(["data_parallel.pth", "half_model.pth"])("%s, a stem alone", async (name) => {
    const checkpoint = await readCheckpoint({ file: goldenPath(`checkpoints/files/${name}`) });
    expect(() => recogniseArchitecture({ checkpoint })).toThrow(
      /^Expected a known architecture in .* received \d+ tensors/,
    );
  });

  test("selective kernels, by name", async () => {
    const { tensors } = await checkpointOf(networks.find(({ name }) => name === "simclr")!);
    tensors.set("net.1.blocks.0.net.2.mixing_conv.0.weight", tensors.get("net.1.blocks.0.net.2.weight")!);
    expect(() => recogniseArchitecture({ checkpoint: { file: "r50_1x_sk1.pth", tensors } })).toThrow(
      "with plain convolutions but received one with selective kernels",
    );
  });

  test.each([
    ["attention in a block", "resnext", "layer2.0.se.fc1.weight"],
    ["a convolution within a VGG", "vgg_bn", "features.3.squeeze.weight"],
  ])("%s", async (_, name, added) => {
    const { tensors } = await checkpointOf(networks.find((one) => one.name === name)!);
    tensors.set(added, [...tensors.values()][0]!);
    expect(() => recogniseArchitecture({ checkpoint: { file: "x.pth", tensors } })).toThrow("a known architecture");
  });

  test("a tensor that is missing", async () => {
    const checkpoint = await checkpointOf(networks[0]!);
    checkpoint.tensors.delete("layer3.0.bn2.running_var");
    expect(() => buildNetwork({ checkpoint, images: networks[0]!.images })).toThrow(
      "Expected the tensor layer3.0.bn2.running_var of resnext17",
    );
  });
});

test("a checkpoint of MoCo becomes a backbone, its projector and queue left out", async () => {
  const out = await fs.mkdtemp(path.join(os.tmpdir(), "resnet-"));
  try {
    const file = goldenPath("checkpoints/files/moco_checkpoint.pth.tar");
    const { manifest, prefix, unused } = await convertCheckpoint({ file, out, title: "moco" });
    expect(prefix).toBe("state_dict/module.encoder_q.");
    expect(manifest.taps.map(({ name }) => name)).toEqual(taps4.slice(0, -1));
    expect(manifest.taps.find(({ name }) => name === "res4")).toMatchObject({ shape: [14, 14, 64], kind: "map" });
    expect(unused.map(({ name }) => name)).toContain("state_dict/module.encoder_q.fc.0.weight");
  } finally {
    await fs.rm(out, { recursive: true });
  }
});

function shapesOnly(shapes: Record<string, number[]>): Pick<Checkpoint, "file" | "tensors"> {
  const read = () => Promise.reject(new Error("not read"));
  const tensors = Object.entries(shapes).map(([name, shape]) => [name, { shape, dtype: "float32", read }] as const);
  return { file: "weights.pth", tensors: new Map(tensors) };
}
