import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { parse, stringify } from "yaml";

import { UserError } from "../../lib/errors.js";
import { learningRateFactor, type Schedule } from "../../lib/optim/schedule.js";
import { readFlags } from "../../lib/settings/flags.js";
import { linearSettings } from "../../lib/settings/linear.js";
import { loadSettings } from "../../lib/settings/load.js";
import { trainingOf } from "../../lib/settings/training.js";
import { translateVissl } from "../../lib/vissl/translate.js";
import { benchmarkFiles, benchmarkYaml } from "./benchmark-files.js";

let folder: string;
beforeEach(() => (folder = mkdtempSync(path.join(os.tmpdir(), "vissl-"))));
afterEach(() => rmSync(folder, { recursive: true }));

const write = (name: string, text: string) => {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
};
const [imagenet] = benchmarkFiles;
const writeImagenet = () => write("in1k.yaml", benchmarkYaml(imagenet!));
const translate = (...overrides: string[]) =>
  translateVissl({ file: "in1k.yaml", overrides, ownData: false, cwd: folder });
const complaint = async (...overrides: string[]) => {
  const error: unknown = await translate(...overrides).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UserError);
  return error as UserError;
};
const load = async (...argv: string[]) =>
  loadSettings({ definition: linearSettings, flags: readFlags({ definition: linearSettings, argv }), cwd: folder });

describe("each benchmark file", () => {
  test.each(benchmarkFiles.map((file) => [file.name, file] as const))(
    "%s is what configs/vissl has",
    async (name, file) => {
      write("own.yaml", benchmarkYaml(file));
      const images = ["--backbone", "b", "--data", "folder:d"];
      const theirs = await load("--vissl", "own.yaml", ...images);
      const ours = await load("--config", `vissl/${name}`, ...images);
      const same = ["features", "views", "transform", "trainTransform", "layers", "epochs", "batchSize", "seeds", "valFraction", "labelSmoothing"] as const; // prettier-ignore
      for (const key of same) expect([key, theirs.settings[key]]).toEqual([key, ours.settings[key]]);
      expect(theirs.settings.optimizer).toEqual(ours.settings.optimizer);
      expect(theirs.protocol?.meantFor).toBe(ours.protocol?.meantFor);
      const rates = ({ settings }: typeof ours) => {
        const schedule = [trainingOf(settings).schedule].flat()[0] as Schedule;
        const { epochs } = settings;
        return Array.from({ length: 4 * epochs }, (_, i) =>
          learningRateFactor(schedule, { epoch: Math.floor(i / 4), step: i % 4, stepsPerEpoch: 4, epochs }),
        );
      };
      rates(theirs).forEach((rate, i) => expect(rate).toBeCloseTo(rates(ours)[i]!, 12));
    },
  );

  test.each(benchmarkFiles.map((file) => [file.name, file] as const))(
    "%s: each key is in one list",
    async (_, file) => {
      const text = benchmarkYaml(file);
      write("own.yaml", text);
      const { used, changesNothing } = await translateVissl({
        file: "own.yaml",
        overrides: [],
        ownData: false,
        cwd: folder,
      });
      const told = [...used, ...Object.keys(changesNothing)];
      expect(new Set(told).size).toBe(told.length);
      expect(told.sort()).toEqual(leaves(parse(text)).sort());
    },
  );
});

test("ImageNet-1k's heads, optimizer and schedule, number by number", async () => {
  writeImagenet();
  const { settings, meantFor, multiLabel, differs } = await translate();
  expect({ meantFor, multiLabel, differs }).toEqual({
    meantFor: "8 processes x 32 images",
    multiLabel: false,
    differs: [],
  });
  const dims = [9216, 9216, 8192, 9216, 8192, 2048].map((width) => [width, 1000]);
  const layers = settings["layers"] as string[];
  expect(layers).toEqual([
    "conv1:avg_pool(10x10,10,4)",
    "res2:avg_pool(16x16,8,0)",
    "res3:avg_pool(13x13,5,0)",
    "res4:avg_pool(8x8,3,0)",
    "res5:avg_pool(6x6,1,0)",
    "res5avg:identity",
  ]);
  expect(settings["heads"]).toEqual([
    ...dims.map((sizes, i) => ({ input: "batch_norm", dims: sizes, layers: [layers[i]] })),
    { dims: [2048, 1000], layers: ["res5avg:identity"] },
  ]);
  expect(settings).toMatchObject({
    features: "live",
    trainTransform: "random_resized_crop(224,bilinear)|hflip(0.5)|normalize(imagenet)",
    transform: "resize(256,bilinear)|center_crop(224)|normalize(imagenet)",
    epochs: 28,
    batchSize: [256],
    seeds: [1],
    optimizer: {
      kind: ["sgd"],
      lr: [0.01],
      weightDecay: [5e-4],
      momentum: [0.9],
      nesterov: true,
      regularizeNorm: false,
    },
    schedule: { kind: [{ kind: "multistep", milestones: [8, 16, 24], factors: [1, 0.1, 0.01, 0.001] }] },
  });
});

describe("overrides", () => {
  beforeEach(writeImagenet);

  test("set values, and are told with their place", async () => {
    const { settings, meantFor } = await translate(
      "config.OPTIMIZER.num_epochs=100",
      "config.DISTRIBUTED.NUM_PROC_PER_NODE=4",
      "config.MODEL.INPUT_TYPE=bgr",
      "+config.LOSS.cross_entropy_multiple_output_single_target.label_smoothing=0.1",
    );
    expect(settings).toMatchObject({ epochs: 100, batchSize: [128], labelSmoothing: 0.1, optimizer: { lr: [0.005] } });
    expect(settings["transform"]).toMatch(/\|channels\(bgr\)$/);
    expect(meantFor).toBe("4 processes x 32 images");
  });

  test("heads of several layers, with dropout, and equal ones on one tap", async () => {
    const { settings } = await translate(
      'config.MODEL.FEATURE_EVAL_SETTINGS.LINEAR_EVAL_FEAT_POOL_OPS_MAP=[["res5avg",["Identity",[]]],["res5avg",["Identity",[]]]]',
      "config.MODEL.HEAD.PARAMS=[[mlp,{dims:[2048,512,10],use_bn:True,use_relu:True,use_dropout:True}],[mlp,{dims:[2048,512,10],use_bn:True,use_relu:True,use_dropout:True}]]",
    );
    const head = { layers: ["res5avg:identity"], dims: [2048, 512, 10], batchNorm: true, relu: true, dropout: 0.5 };
    expect(settings["heads"]).toEqual([head, { ...head, name: "mlp-512_2" }]);
  });

  test("the composite with a warm-up, which one node does without", async () => {
    const lr = "config.OPTIMIZER.param_schedulers.lr";
    const overrides = [
      `${lr}.auto_lr_scaling.base_value=0.3`,
      `${lr}.name=composite`,
      `+${lr}.schedulers=[{name:linear,start_value:0.1,end_value:0.3},{name:cosine,start_value:0.3,end_value:0}]`,
      `+${lr}.interval_scaling=[rescaled,rescaled]`,
      `+${lr}.lengths=[0.1,0.9]`,
      `${lr}.update_interval=step`,
    ];
    const { settings, changesNothing } = await translate(...overrides);
    expect(settings["optimizer"]).toMatchObject({ lr: [0.3] });
    expect(settings["schedule"]).toEqual({ kind: [{ kind: "cosine", start: 1, end: 0, per: "step" }] });
    expect(changesNothing[`${lr}.milestones`]).toBe("not of this schedule");
  });

  test("Adam, LARC, and rates and decay of heads alone", async () => {
    const adam = await translate("config.OPTIMIZER.name=adamw", "+config.OPTIMIZER.betas=[0.8,0.9]");
    expect(adam.settings["optimizer"]).toMatchObject({
      kind: [{ kind: "adamw", beta1: 0.8, beta2: 0.9, epsilon: 1e-8 }],
    });
    expect(adam.changesNothing["config.OPTIMIZER.momentum"]).toBe("of another optimizer");
    const larc = await translate("+config.OPTIMIZER.use_larc=True");
    expect(larc.settings["optimizer"]).toMatchObject({
      kind: [{ kind: "lars", momentum: 0.9, trust: 0.001, epsilon: 1e-8 }],
    });
    expect(larc.differs).toHaveLength(1);
    const own = "+config.OPTIMIZER.head_optimizer_params";
    const heads = await translate(
      `${own}.use_different_lr=True`,
      `${own}.use_different_wd=True`,
      `${own}.weight_decay=0.25`,
      "+config.OPTIMIZER.param_schedulers.lr_head.name=constant",
      "+config.OPTIMIZER.param_schedulers.lr_head.value=0.5",
    );
    expect(heads.settings).toMatchObject({
      optimizer: { lr: [0.5], weightDecay: [0.25] },
      schedule: { kind: [{ kind: "constant", factor: 1 }] },
    });
  });

  test("files are laid over, looked up below the folder that holds config/", async () => {
    write("configs/config/benchmark/in1k.yaml", benchmarkYaml(imagenet!));
    const overlay = {
      config: { OPTIMIZER: { num_epochs: 100, param_schedulers: { lr: { milestones: [28, 56, 84] } } } },
    };
    write("configs/config/benchmark/optimizers/ep100.yaml", ` # @package _global_\n${stringify(overlay)}`);
    const with_ = (...overrides: string[]) =>
      translateVissl({ file: "configs/config/benchmark/in1k.yaml", overrides, ownData: false, cwd: folder });
    const { settings } = await with_("+config/benchmark/optimizers=ep100", "config.OPTIMIZER.weight_decay=0");
    expect(settings).toMatchObject({ epochs: 100, optimizer: { weightDecay: [0] } });
    expect(settings["schedule"]).toMatchObject({ kind: [{ milestones: [28, 56, 84] }] });
    await expect(with_("+config/benchmark/optimizers=ep99")).rejects.toThrow(
      /Expected a file ep99.yaml in .*optimizers for/,
    );
  });

  test("name the data: folders and lists", async () => {
    const folders = await translate(
      "+config.DATA.TRAIN.DATA_PATHS=[/data/imagenet/train]",
      "+config.DATA.TEST.DATA_PATHS=[/data/imagenet/val]",
    );
    expect(folders.settings).toMatchObject({ data: "folder:/data/imagenet", reportOn: "val" });
    const list = (split: string) => [
      `config.DATA.${split}.DATA_SOURCES=[disk_filelist]`,
      `config.DATA.${split}.LABEL_SOURCES=[disk_filelist]`,
      `+config.DATA.${split}.DATA_PATHS=[${split}.npy]`,
      `+config.DATA.${split}.LABEL_PATHS=[${split}_labels.npy]`,
    ];
    const lists = await translate(...list("TRAIN"), ...list("TEST"));
    expect(lists.settings["data"]).toBe("list:train=TRAIN.npy,TRAIN_labels.npy,val=TEST.npy,TEST_labels.npy");
    const paths = ["+config.DATA.TRAIN.DATA_PATHS=[/a/train]", "+config.DATA.TEST.DATA_PATHS=[/b/val]"];
    expect((await complaint(...paths)).message).toContain("Expected DIR/train and DIR/val");
    const own = await translateVissl({ file: "in1k.yaml", overrides: paths, ownData: true, cwd: folder });
    expect(own.settings["data"]).toBeUndefined();
    expect(own.changesNothing["config.DATA.TRAIN.DATA_PATHS"]).toBe("--data decides");
  });
});

describe("what cannot be honoured is refused with key and place:", () => {
  beforeEach(writeImagenet);
  const loss = "config.LOSS.cross_entropy_multiple_output_single_target";
  const features = "config.MODEL.FEATURE_EVAL_SETTINGS";

  test.each([
    [`+${loss}.temperature=0.1`, `Expected 1 for ${loss}.temperature (+${loss}.temperature=0.1) but received 0.1`],
    [`${loss}.ignore_index=-100`, `Expected -1 for ${loss}.ignore_index`],
    ["+config.MODEL.HEAD.PARAMS_MULTIPLIER=2", "Expected 1 for config.MODEL.HEAD.PARAMS_MULTIPLIER"],
    ["config.TEST_ONLY=True", "Expected false for config.TEST_ONLY"],
    ["+config.DATA.TRAIN.DATA_LIMIT=100", "Expected -1 for config.DATA.TRAIN.DATA_LIMIT"],
    ["+config.MODEL.GRAD_CLIP.USE_GRAD_CLIP=True", "Expected false for config.MODEL.GRAD_CLIP.USE_GRAD_CLIP"],
    ["+config.NOT.KNOWN=1", "Expected a key that is known here for config.NOT.KNOWN"],
    ["config.OPTIMIZER.name=lars", "Expected sgd, adam or adamw for config.OPTIMIZER.name"],
    ["config.OPTIMIZER.num_epochs=ten", "Expected a whole number of at least 1 for config.OPTIMIZER.num_epochs"],
    ["config.OPTIMIZER.param_schedulers.lr.name=sine", "for config.OPTIMIZER.param_schedulers.lr.name"],
    ["config.LOSS.name=swav_loss", "for config.LOSS.name"],
    ["config.METERS.name=mean_ap_list_meter", "Expected accuracy_list_meter beside the loss"],
    ["config.METERS.accuracy_list_meter.topk_values=[1,10]", "Expected [1, 5] or one of them"],
    [`${features}.FREEZE_TRUNK_ONLY=False`, `Expected True for ${features}.FREEZE_TRUNK_ONLY`],
    [`${features}.SHOULD_FLATTEN_FEATS=True`, `Expected False beside eval_mlp for ${features}.SHOULD_FLATTEN_FEATS`],
    [`${features}.LINEAR_EVAL_FEAT_POOL_OPS_MAP=[]`, "Expected at least one tap"],
    [`${features}.LINEAR_EVAL_FEAT_POOL_OPS_MAP=[["res5",["SumPool",[]]]]`, "SumPool"],
    [`${features}.LINEAR_EVAL_FEAT_POOL_OPS_MAP=[["res5avg",["Identity",[]]]]`, "Expected 1, one a tap"],
    ["config.MODEL.HEAD.PARAMS=[[swav_head,{}]]", "Expected 7, one a tap"],
    ["+config.MODEL.INPUT_TYPE=lab", "Expected rgb or bgr for config.MODEL.INPUT_TYPE"],
    [
      "config.DATA.TRAIN.TRANSFORMS=[{name:ImgPilColorDistortion,strength:1.0}]",
      'but received "ImgPilColorDistortion"',
    ],
    ["config.DATA.TRAIN.TRANSFORMS=[{name:Resize,length:3},{name:ToTensor}]", "the parameters of torchvision's Resize"],
    ["config.DATA.TRAIN.TRANSFORMS=[{name:Resize,size:32}]", "Expected ToTensor among the transforms"],
    ["+engine_name=extract_features", "Expected the engine train for engine_name"],
  ])("%s", async (override, message) => {
    expect((await complaint(override)).message).toContain(message);
  });

  test("all refused keys at once, and the line of a file", async () => {
    write("in1k.yaml", benchmarkYaml(imagenet!).replace("TEST_ONLY: false", "TEST_ONLY: true"));
    const { message, hint } = await complaint("+config.NOT.KNOWN=1");
    expect(message).toContain("config.TEST_ONLY (in1k.yaml:5) but received true; Expected a key that is known");
    expect(hint).toContain("Heads are trained");
  });

  test("heads of other kinds and forms", async () => {
    const taps = `${features}.LINEAR_EVAL_FEAT_POOL_OPS_MAP=[["res5avg",["Identity",[]]]]`;
    const params = (text: string) => complaint(taps, `config.MODEL.HEAD.PARAMS=${text}`);
    expect((await params("[[swav_head,{dims:[2048,10]}]]")).message).toContain("Expected the heads mlp and eval_mlp");
    const residual = await params("[[eval_mlp,{in_channels:2048,dims:[2048,10],use_residual:True}]]");
    expect(residual.hint).toContain("use_residual");
    const chained = await params("[[mlp,{dims:[2048,512]}],[mlp,{dims:[512,10]}]]");
    expect(chained.hint).toContain("one behind the other");
  });

  test("files that are none of VISSL's", async () => {
    write("in1k.yaml", "config: {}\n");
    expect((await complaint()).message).toContain('Expected the line "# @package _global_"');
    write("in1k.yaml", "# @package _global_\nother: {}\n");
    expect((await complaint()).message).toContain("Expected settings below the group config");
    write("in1k.yaml", "# @package _global_\nconfig: [\n");
    expect((await complaint()).message).toContain("Expected YAML at in1k.yaml");
    rmSync(path.join(folder, "in1k.yaml"));
    expect((await complaint()).message).toContain("in1k.yaml");
    write(
      "in1k.yaml",
      "# @package _global_\nconfig: {MODEL: {FEATURE_EVAL_SETTINGS: {EVAL_MODE_ON: True, FREEZE_TRUNK_ONLY: True}}}\n",
    );
    expect((await complaint()).hint).toContain("for another program");
  });
});

describe("beside other settings", () => {
  beforeEach(writeImagenet);
  const images = ["--backbone", "b", "--data", "folder:d"];

  test("flags count more", async () => {
    const { settings } = await load(
      "--vissl",
      "in1k.yaml",
      ...images,
      "--lr",
      "0.1,0.2",
      "--epochs",
      "30",
      "config.OPTIMIZER.weight_decay=0",
    );
    expect(settings).toMatchObject({ epochs: 30, optimizer: { lr: [0.1, 0.2], weightDecay: [0] } });
    const stored = await load("--vissl", "in1k.yaml", ...images, "--views", "4");
    expect(stored.settings).toMatchObject({ views: 4 });
    expect(stored.settings.features).toBeUndefined();
    const there = await load("--vissl", "in1k.yaml", "--features", "store");
    expect(there.settings).toMatchObject({ features: "store", epochs: 28 });
  });

  test("a backbone is needed, and overrides need a file", async () => {
    await expect(load("--vissl", "in1k.yaml", "--data", "folder:d")).rejects.toThrow(
      "for --backbone but received nothing",
    );
    await expect(load(...images, "config.A=1")).rejects.toThrow("Expected --vissl FILE.yaml for overrides");
  });
});

function leaves(value: unknown, above: string[] = []): string[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [above.join(".")];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...above, key]));
}
