import { existsSync } from "node:fs";
import path from "node:path";

import { prepareBackend } from "../../lib/backend/backend.js";
import type { FeatureSet } from "../../lib/features/feature-set.js";
import type { EvalLinearOptions } from "../../lib/protocols/linear/linear.js";
import { evalLinear } from "../../lib/protocols/linear/linear.js";
import { cloudFeatures, cloudSource } from "../clouds.js";
import { temporaryFolder } from "../command-line.js";

const root = temporaryFolder();
let features: FeatureSet;
beforeAll(async () => {
  await prepareBackend({ device: "wasm" });
  features = cloudFeatures({
    train: await cloudSource({ images: 60, seed: 1 }),
    test: await cloudSource({ images: 40, seed: 2 }),
  });
});
afterAll(() => features.close());

const sgd = { lr: [0.1], weightDecay: [0], momentum: 0.9, nesterov: true };
const mistakes: [what: string, options: Partial<EvalLinearOptions>, message: string, hint?: RegExp][] = [
  ["dims of another layer", { heads: [{ dims: [2048, 4], layers: ["deep"] }, { layers: ["shallow"], name: "x" }] }, "Expected 8, the width of the layer, first for the dims of the head on deep but received [2048,4]"],
  ["dims of other classes", { layers: ["deep"], heads: [{ dims: [8, 16, 1000] }] }, "Expected 4, the number of classes, last for the dims of the head on deep but received [8,16,1000]"],
  ["a milestone beyond the epochs", { schedule: { kind: "multistep", milestones: [1, 2], gamma: 0.1 } }, "Expected epochs below 2, that of the end for schedule.milestones but received [2]"],
  ["a head on a layer that is not evaluated", { layers: ["deep"], heads: [{ layers: ["shallo"] }] }, 'Expected one of the layers for the layers of a head but received "shallo"'],
  ["a layer without a head", { heads: [{ layers: ["deep"] }] }, "Expected a head for each layer but shallow has none", /name it among a head's layers/],
  ["two heads of one name", { heads: ["fc", { name: "fc", input: "l2" }] }, 'Expected heads of different names for the heads of shallow but received "fc"'],
  ["a piece of a joined layer", { layers: ["deep+shalow"] }, 'Expected one of shallow, deep for the layers but received "shalow"'],
  ["no layer", { layers: [] }, "Expected at least one for the layers but received []"],
  ["no head", { heads: [] }, "Expected a head for each layer but shallow, deep has none"],
  ["no learning rate", { optimizer: { ...sgd, lr: [] } }, "Expected at least one number for --lr but received []"],
  ["no optimizer", { optimizer: { ...sgd, kind: [] } }, "Expected at least one for --optimizer but received []"],
  ["no schedule", { schedule: [] }, "Expected at least one for --schedule but received []"],
  ["no batch size", { batchSize: [] }, "Expected at least one number for --batch-size but received []"],
  ["no seed", { seeds: [] }, "Expected at least one for the seeds but received []"],
  ["a range without points in a grid", { optimizer: { ...sgd, lr: { from: 0.1, to: 1, scale: "log" } } }, "Expected a number of points for the range of --lr, as a grid has, but received none", /log\(0.1,1,5\)/],
]; // prettier-ignore

// Jest would take a fourth parameter that is not given for a callback.
test.each(mistakes)("%s is refused before anything is written", async (_, ...[options, message, hint]) => {
  const out = path.join(root, "refused");
  const failed = await evalLinear({ features, epochs: 2, out, optimizer: sgd, schedule: { kind: "constant" }, ...options }).catch((thrown: unknown) => thrown); // prettier-ignore
  expect(failed).toMatchObject({ name: "UserError", message });
  if (hint) expect(failed).toMatchObject({ hint: expect.stringMatching(hint) as string });
  expect(existsSync(out)).toBe(false);
});

test.each(["grid", "halving"] as const)("all trials of a %s diverged: rates are named", async (search) => {
  const optimizer = { ...sgd, lr: [2e38, 3e38] };
  const options = { features, epochs: 8, optimizer, schedule: { kind: "constant" } as const, search };
  await expect(evalLinear(options)).rejects.toMatchObject({
    name: "UserError",
    message: "Expected a setting under which shallow fc trains, but all of them diverged",
    hint: "Try smaller learning rates than 2e+38, 3e+38 (--lr), or normalised features.",
  });
});
