import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";

import { parse, stringify } from "yaml";

import { readRecord } from "../../lib/results/record.js";
import { device, run, runHere, temporaryFolder } from "../command-line.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";
import { benchmarkFiles, benchmarkYaml } from "../vissl/benchmark-files.js";

jest.setTimeout(240_000);

const folder = temporaryFolder();
const backbone = path.join("models", "small", "convnet");
const file = path.join("configs", "config", "small.yaml");
const taps =
  'config.MODEL.FEATURE_EVAL_SETTINGS.LINEAR_EVAL_FEAT_POOL_OPS_MAP=[["block1",["AvgPool2d",[[8,8],4,0]]],["features",["Identity",[]]],["features",["Identity",[]]]]';
const overrides = [
  taps,
  "config.MODEL.HEAD.PARAMS=[[eval_mlp,{in_channels:16,dims:[144,6]}],[eval_mlp,{in_channels:16,dims:[16,6]}],[mlp,{dims:[16,8,6],use_relu:True}]]",
  "config.OPTIMIZER.num_epochs=3",
  "config.OPTIMIZER.param_schedulers.lr.milestones=[1,2]",
  "config.OPTIMIZER.param_schedulers.lr.values=[0.1,0.01,0.001]",
  "config.OPTIMIZER.param_schedulers.lr.auto_lr_scaling.base_value=0.1",
  "config.DATA.TRAIN.BATCHSIZE_PER_REPLICA=2",
  "config.DATA.TRAIN.TRANSFORMS=[{name:RandomResizedCrop,size:32},{name:ToTensor}]",
  "config.DATA.TEST.TRANSFORMS=[{name:Resize,size:[32,32]},{name:ToTensor}]",
  "config.DATA.TRAIN.DATA_PATHS=[parts/train]",
  "config.DATA.TEST.DATA_PATHS=[parts/val]",
];

beforeAll(async () => {
  await writeSmallBackbone({ root: path.join(folder, "models") });
  for (const [seed, [split, count]] of Object.entries({ train: 8, val: 4 }).entries()) {
    await writeSmallImages({ folder: path.join(folder, "parts", split), count, seed: seed + 1 });
  }
  mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
  writeFileSync(path.join(folder, file), benchmarkYaml(benchmarkFiles[0]!));
});

test("a file of VISSL's with overrides is evaluated, and each of its keys is accounted for", async () => {
  const { status, stderr } = await run(
    "eval-linear",
    ["--vissl", file, ...overrides, "--backbone", backbone, "--out", "out", "--device", device],
    folder,
  );
  expect([status, stderr]).toEqual([0, expect.stringContaining("Used of VISSL's keys: config.SEED_VALUE, ")]);
  expect(stderr).toContain("config.MODEL.WEIGHTS_INIT.PARAMS_FILE (convert it: --backbone)");
  expect(stderr).toContain("Batch size, epochs and rates are kept as meant for 8 processes x 2 images");
  const record = await readRecord(path.join(folder, "out"));
  expect(record.results.map(({ layer, head }) => `${layer} ${head}`)).toEqual([
    "block1:avg_pool(8x8,4,0) bn_fc",
    "features bn_fc",
    "features mlp-8",
  ]);
  const { protocol, ...settings } = record.settings as Record<string, unknown> & { protocol: Record<string, unknown> };
  expect(protocol).toMatchObject({ id: "vissl-yaml", meantFor: "8 processes x 2 images", labels: "one", differs: [] });
  expect(protocol["changesNothing"]).toMatchObject({ "config.MACHINE.DEVICE": "--device decides" });
  expect(settings).toMatchObject({ vissl: file, overrides, epochs: 3, batchSize: [16], data: "folder:parts" });
});

test("its settings can be printed, and give the same settings back", async () => {
  const first = await run("eval-linear", ["--vissl", file, ...overrides, "--print-config"], folder);
  expect(first.status).toBe(0);
  expect(parse(first.stdout)).toMatchObject({ epochs: 3, features: "live" });
  writeFileSync(path.join(folder, "printed.yaml"), first.stdout);
  expect(await run("eval-linear", ["--config", "printed.yaml", "--print-config"], folder)).toEqual(first);
});

test("what it cannot honour ends the program before anything is computed", async () => {
  const temperature = "+config.LOSS.cross_entropy_multiple_output_single_target.temperature=0.1";
  const refused = await runHere(
    "eval-linear",
    ["--vissl", file, temperature, "--backbone", backbone, "--data", "folder:parts"],
    folder,
  );
  expect(refused).toMatchObject({ status: 2, stdout: "" });
  expect(refused.stderr).toMatch(
    /^error: Expected 1 for config\.LOSS\..*temperature .* but received 0\.1\nThere is no temperature here/,
  );
  const several = stringify({ config: { METERS: { name: "mean_ap_list_meter" }, LOSS: { name: "bce_logits_multiple_output_single_target" }, DATA: { TRAIN: { COLLATE_FUNCTION: "targets_one_hot_default_collator" }, TEST: { COLLATE_FUNCTION: "targets_one_hot_default_collator" } } } }); // prettier-ignore
  writeFileSync(path.join(folder, "configs", "config", "several.yaml"), `# @package _global_\n${several}`);
  const wrong = await runHere("eval-linear", ["--vissl", file, "+config/.=several", ...overrides, "--backbone", backbone, "--features", "stored", "--device", device], folder); // prettier-ignore
  expect([wrong.status, wrong.stderr]).toEqual([2, expect.stringContaining("Expected data with several labels an image for the protocol vissl-yaml")]); // prettier-ignore
});
