import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { UserError } from "../../lib/errors.js";
import { readFlags } from "../../lib/settings/flags.js";
import { loadSettings } from "../../lib/settings/load.js";
import { svmSettings } from "../../lib/settings/svm.js";
import { translateVisslSvm } from "../../lib/vissl/translate-svm.js";
import { svmConfig, svmYaml } from "./svm-file.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "vissl-svm-"));
  writeFileSync(path.join(folder, "svm.yaml"), svmYaml());
  writeFileSync(path.join(folder, "linear.yaml"), svmYaml({ MODEL: svmConfig.MODEL }));
});
afterAll(() => rmSync(folder, { recursive: true }));

const translate = (overrides: string[] = [], file = "svm.yaml") =>
  translateVisslSvm({ file, overrides, ownData: true, cwd: folder });

test("VISSL's settings of SVMs become ours; a base of -1 is none", async () => {
  const { settings, used, changesNothing } = await translate();
  expect(settings).toEqual({
    transform: "resize(40,bilinear)|resize(32x32,bilinear)|normalize(imagenet)",
    layers: ["block1:avg_pool(8x8,4,0)"],
    costs: [1],
    loss: "squared_hinge",
    normalize: true,
    folds: 2,
    classes: [0, 3],
  });
  expect(changesNothing["config.SVM.costs.power_range"]).toBe("without a base");
  expect(used.length + Object.keys(changesNothing).length).toBe(22);
  expect((await translate(["config.SVM.costs.base=0.5"])).settings).toMatchObject({
    costBase: 0.5,
    costPowers: [-2, 0],
  });
  expect((await translate(["config.SVM.cls_list=[]"])).settings).not.toHaveProperty("classes");
});

test("numbers of images are for low-shot SVMs, as many samples as VISSL numbers", async () => {
  const few = ["+config.SVM.low_shot.k_values=[1,4]", "+config.SVM.low_shot.dataset_name=voc"];
  const { settings, changesNothing } = await translate(few);
  expect(settings).toMatchObject({ lowShot: [1, 4], samples: 5 });
  expect(changesNothing["config.SVM.low_shot.dataset_name"]).toBe("the labels tell how images are drawn");
  expect((await translate([...few, "+config.SVM.low_shot.sample_inds=[1,2]"])).settings).toMatchObject({ samples: 2 });
});

test("features that are there have their layers and transforms; flags count more than the file", async () => {
  const argv = ["--vissl", "svm.yaml", "--features", "vissl:dump", "--folds", "5"];
  const flags = readFlags({ definition: svmSettings, argv });
  const { settings } = await loadSettings({ definition: svmSettings, flags, cwd: folder });
  expect(settings).toMatchObject({ layers: ["all"], folds: 5, costs: [1] });
  expect(settings.transform).toBeUndefined();
});

test.each([
  ["config.SVM.penalty=l1", 'Expected "l2" for config.SVM.penalty'],
  ["config.SVM.loss=epsilon", "Expected squared_hinge or hinge for config.SVM.loss"],
  ["config.SVM.costs.costs_list=[-1]", "Expected a list of numbers above 0 for config.SVM.costs.costs_list"],
  ["config.MODEL.FEATURE_EVAL_SETTINGS.EXTRACT_TRUNK_FEATURES_ONLY=False", "Expected true for config.MODEL"],
  ["config.MODEL.FEATURE_EVAL_SETTINGS.LINEAR_EVAL_FEAT_POOL_OPS_MAP=[]", "Expected at least one tap with its pooling"],
  ["config.DATA.TRAIN.TRANSFORMS=[{name:ToTensor}]", "Expected the transforms of TEST, without chance, for"],
  ["config.SVM.unheard_of=1", "Expected a key that is known here for config.SVM.unheard_of"],
])("what cannot be honoured is refused: %s", async (override, sentence) => {
  const error: unknown = await translate([override]).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UserError);
  expect((error as UserError).message).toContain(sentence);
});

test("a file without SVMs is refused", async () => {
  await expect(translate([], "linear.yaml")).rejects.toThrow("Expected settings of SVMs for config.SVM");
});
