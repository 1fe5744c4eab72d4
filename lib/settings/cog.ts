import { z } from "zod";

import { expected } from "../errors.js";
import { logregDefaults } from "../protocols/cog/protocol.js";
import { defineSettings, type SettingsOf } from "./definition.js";
import { deviceField, threadsField } from "./fields.js";
import { checkLaunch, launchFields } from "./launch.js";
import { logregFields, searchedOf, seedsField } from "./logreg.js";

/** `cog`: the grid of ImageNet-CoG. */
export const cogSettings = defineSettings({
  command: "cog",
  summary: "Run ImageNet-CoG's grid of models, levels and shots, and make its table and figures",
  description:
    "Every cell is a run of eval-logreg with a folder of its own; what is finished is not done again, so the same command " +
    "goes on after a stop. Features are there already: extract-features makes them, or CoG's program has.",
  schema: z.strictObject({
    models: z
      .array(z.string().min(1))
      .min(1)
      .describe("Models as <title>_<arch>, whose features are in <title>/<arch>; names of the zoo")
      .meta({ placeholder: "NAME,...", expected: "names of models" }),
    levels: z
      .array(z.string().min(1))
      .min(1)
      .default(["in1k", "l1..l5"])
      .describe(
        "Levels: in1k, l1 to l5 for cog_l1 to cog_l5, or names of data sets as the folders of features have them",
      )
      .meta({ placeholder: "LEVEL,..." }),
    shots: z
      .array(z.union([z.int().min(1), z.literal("all")]).meta({ expected: "all or a whole number from 1" }))
      .min(1)
      .default(["all"])
      .describe("Images of each class that are trained on, e.g. all,1,2,4,8,16,32,64,128")
      .meta({ placeholder: "N|all,..." }),
    seeds: seedsField,
    featuresRoot: z
      .string()
      .min(1)
      .default("features")
      .describe("Folder of features: <title>/<arch>/<dataset>/features_<split>, our stores or CoG's X_Y.pth")
      .meta({ placeholder: "DIR", expected: "a folder" }),
    layer: z.string().min(1).optional().describe("Which layer is evaluated; the last where not given"),
    out: z
      .string()
      .min(1)
      .default("runs/cog")
      .describe("Folder of the runs, the table and the figures")
      .meta({ placeholder: "DIR", expected: "a folder" }),
    show: z
      .enum(logregDefaults.methods)
      .optional()
      .describe("Whose numbers the table and figures show, of --methods: sgd or lbfgs; the first where not given"),
    dryRun: z.boolean().default(false).describe("Only say how much work it is, from measured steps"),
    ...launchFields,
    ...logregFields,
    device: deviceField.meta({ group: "Machine" }),
    threads: threadsField.meta({ group: "Machine" }),
  }),
  examples: [
    {
      command: "npx frozen-eval cog --models sup_resnet50,dino_resnet50",
      meaning: "The paper's figure: accuracy against level, five seeds.",
    },
    {
      command:
        "npx frozen-eval cog --models sup_resnet50 --levels in1k,l1..l5 --shots all,1,2,4,8,16,32,64,128 --dry-run",
      meaning: "How much work the few-shot grid is.",
    },
    {
      command:
        "npx frozen-eval cog --models sup_resnet50,dino_resnet50 --launch slurm:32 --slurm-cpus 8 --slurm-time 08:00:00",
      meaning: "Every run a job of Slurm's, 32 at once; followed to the table.",
    },
  ],
  check: (settings) => {
    levelsOf(settings);
    searchedOf(settings);
    checkLaunch(settings);
  },
});

export type CogSettings = SettingsOf<typeof cogSettings>;

/** `l1..l5` as l1, l2, l3, l4, l5. */
export function levelsOf({ levels }: Pick<CogSettings, "levels">): string[] {
  const all = levels.flatMap((level) => {
    const [, prefix, from, other, to] = /^(\D+)(\d+)\.\.(\D*)(\d+)$/.exec(level) ?? [];
    if (prefix === undefined) return [level];
    const count = Number(to) - Number(from) + 1;
    if (!(count >= 1 && count <= 100) || (other !== "" && other !== prefix)) {
      throw expected("rising levels such as l1..l5", "--levels", level);
    }
    return Array.from({ length: count }, (_, i) => `${prefix}${Number(from) + i}`);
  });
  return [...new Set(all)];
}
