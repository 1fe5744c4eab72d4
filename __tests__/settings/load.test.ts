import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { z } from "zod";

import { UserError } from "../../lib/errors.js";
import { defineSettings } from "../../lib/settings/definition.js";
import { readFlags } from "../../lib/settings/flags.js";
import { loadPartialSettings, loadSettings, parseSettings } from "../../lib/settings/load.js";
import { printSettings } from "../../lib/settings/print.js";
import { linearSettings } from "../../lib/settings/linear.js";

const definition = defineSettings({
  command: "try",
  summary: "A command for tests",
  schema: z.strictObject({
    image: z.string().optional().describe("An image").meta({ positional: true, placeholder: "IMAGE" }),
    data: z.string().describe("The data"),
    valFraction: z.number().min(0).lt(1).default(0.1).describe("Held out"),
    onBadImage: z.enum(["stop", "skip"]).default("stop").describe("Bad images"),
    epochs: z.int().min(1).default(28).describe("Epochs"),
    workers: z.int().min(1).optional().describe("Threads"),
    layers: z
      .array(z.union([z.string(), z.tuple([z.string(), z.array(z.unknown())])]))
      .default(["all"])
      .describe("Layers"),
    optimizer: z
      .strictObject({
        lr: z.array(z.number().positive()).default([0.1]).describe("Rates"),
        nesterov: z.boolean().default(true).describe("Nesterov"),
      })
      .prefault({}),
  }),
  examples: [],
});

let folder: string;
beforeEach(() => (folder = mkdtempSync(path.join(os.tmpdir(), "settings-"))));
afterEach(() => rmSync(folder, { recursive: true }));

const write = (name: string, text: string) => {
  mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
  writeFileSync(path.join(folder, name), text);
};
const load = async (...argv: string[]) =>
  loadSettings({ definition, flags: readFlags({ definition, argv }), cwd: folder });
const complaint = async (...argv: string[]) => {
  const error: unknown = await load(...argv).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UserError);
  return error as UserError;
};

describe("settings come from", () => {
  test("the schema, where nothing else is said", async () => {
    const { settings, protocol } = await load("--data", "folder:a");
    expect(settings).toEqual({
      data: "folder:a",
      valFraction: 0.1,
      onBadImage: "stop",
      epochs: 28,
      layers: ["all"],
      optimizer: { lr: [0.1], nesterov: true },
    });
    expect(protocol).toBeUndefined();
  });

  test("extended files, the file, flags and --set, and the later of these counts", async () => {
    write("base/a.yaml", "extends: b\nepochs: 2\nvalFraction: 0.2\nonBadImage: skip\noptimizer: { lr: [2] }\n");
    write("base/b.yml", "protocol: { id: b, version: 3 }\nepochs: 1\nworkers: 7\noptimizer: { nesterov: false }\n");
    write("my.yaml", "extends: base/a\nepochs: 3\nvalFraction: 0.3\ndata: mine\n");
    const { settings, protocol } = await load(
      ..."--config my.yaml --epochs 4 --val-fraction=0.4 --set val-fraction=0.5".split(" "),
    );
    expect(settings).toEqual({
      data: "mine",
      valFraction: 0.5,
      onBadImage: "skip",
      epochs: 4,
      workers: 7,
      layers: ["all"],
      optimizer: { lr: [2], nesterov: false },
    });
    expect(protocol).toEqual({ id: "b", version: 3 });
  });

  test("the protocols of the package by their name", async () => {
    const flags = readFlags({ definition: linearSettings, argv: ["--config", "vissl/linear", "--features", "f"] });
    const { settings, protocol } = await loadSettings({ definition: linearSettings, flags, cwd: folder });
    expect(protocol).toEqual({ id: "vissl-linear", version: 1 });
    expect(settings).toMatchObject({
      optimizer: { lr: [0.01], weightDecay: [5e-4] },
      schedule: { milestones: [8, 16, 24] },
      valFraction: 0,
    });
  });

  test("flags with lists, switches and arguments", async () => {
    const { settings } = await load(
      ..."photo.jpg --data d --layers res4,res5:avg_pool(8x8,3,0) --lr 0.1,1e-3 --no-nesterov".split(" "),
    );
    expect(settings.image).toBe("photo.jpg");
    expect(settings.layers).toEqual(["res4", "res5:avg_pool(8x8,3,0)"]);
    expect(settings.optimizer).toEqual({ lr: [0.1, 0.001], nesterov: false });
    expect((await load("--data", "d", "--layers", "a", "--layers", "b,c")).settings.layers).toEqual(["a", "b", "c"]);
  });

  test("VISSL's pooling entries as they are", async () => {
    const vissl = '[["res4", ["AvgPool2d", [[8, 8], 3, 0]]], "res5avg"]';
    write("my.yaml", `data: d\nlayers: ${vissl}\n`);
    const wanted = [["res4", ["AvgPool2d", [[8, 8], 3, 0]]], "res5avg"];
    expect((await load("--config", "my.yaml")).settings.layers).toEqual(wanted);
    expect((await load("--data", "d", "--layers", vissl)).settings.layers).toEqual(wanted);
    expect((await load("--data", "d", "--set", `layers=${vissl}`)).settings.layers).toEqual(wanted);
  });

  test("--set with a whole object, and with a value that holds an equals sign", async () => {
    const { settings } = await load("--set", "optimizer={lr: [3]}", "--set", "data=csv:a=b.csv");
    expect(settings).toMatchObject({ data: "csv:a=b.csv", optimizer: { lr: [3], nesterov: true } });
  });

  test("a program, checked by the same rules", () => {
    expect(parseSettings({ definition, settings: { data: "d" } }).epochs).toBe(28);
    expect(() => parseSettings({ definition, settings: { data: "d", epochs: 0 } })).toThrow(
      "Expected a whole number of at least 1 for epochs but received 0",
    );
  });
});

describe("a mistake is told with its place", () => {
  test.each([
    ["epochs: many", 'Expected a whole number of at least 1 for epochs (my.yaml:2) but received "many"'],
    ["valFraction: 1", "Expected a number in [0, 1) for valFraction (my.yaml:2) but received 1"],
    ["onBadImage: halt", 'Expected stop or skip for onBadImage (my.yaml:2) but received "halt"'],
    ["optimizer:\n  lr: [0.1, 0]", "Expected a number above 0 for optimizer.lr[1] (my.yaml:3) but received 0"],
    ["optimizer: 3", "Expected settings by name (lr, nesterov) for optimizer (my.yaml:2) but received 3"],
    ["optimizer:\n  lr: 0.1", "Expected a list of: a number above 0 for optimizer.lr (my.yaml:3) but received 0.1"],
    ["protocol: { id: x }", "Expected a whole number above 0 for protocol.version (my.yaml:2) but received nothing"],
    ["epochs: [1", "Expected YAML at my.yaml:"],
    [
      "epochs: 1\nepochs: 2",
      "Expected YAML at my.yaml:3 but received text that does not parse: Map keys must be unique",
    ],
  ])("%j in a file", async (text, message) => {
    write("my.yaml", `data: d\n${text}\n`);
    expect((await complaint("--config", "my.yaml")).message).toContain(message);
  });

  test.each([
    ["epoch: 3", 'Expected the name of a setting at my.yaml:2 but received "epoch"', "Did you mean epochs?"],
    ["val-fraction: 0", 'at my.yaml:2 but received "val-fraction"', "Did you mean valFraction?"],
    ["optimizer:\n  lr: [1]\n  lrr: 3", 'at my.yaml:4 but received "optimizer.lrr"', "Did you mean lr?"],
    ["__proto__: { epochs: 3 }", 'at my.yaml:2 but received "__proto__"', "There is"],
  ])("an unknown key: %j", async (text, message, hint) => {
    write("my.yaml", `data: d\n${text}\n`);
    const error = await complaint("--config", "my.yaml");
    expect(error.message).toContain(message);
    expect(error.hint).toContain(hint);
  });

  test("also in the file that is extended", async () => {
    write("my.yaml", "extends: base\n");
    write("base.yaml", "data: d\n\nepochs: -1\n");
    expect((await complaint("--config", "my.yaml")).message).toContain("for epochs (base.yaml:3) but received -1");
  });

  test.each([
    [["--epochs", "many"], 'Expected a whole number of at least 1 for --epochs but received "many"'],
    [["--epochs", "1.5"], "Expected a whole number of at least 1 for --epochs but received 1.5"],
    [["--on-bad-image", "halt"], 'Expected stop or skip for --on-bad-image but received "halt"'],
    [["--lr", "0.1,x"], 'Expected a number above 0 for --lr but received "x"'],
    [["--epochs"], "Expected a value for --epochs but received nothing"],
    [["--epochs", "1", "--epochs", "2"], "Expected --epochs once but received it several times"],
    [["--epoch", "1"], 'Expected a flag of this command but received "--epoch"'],
    [["--no-epoch"], 'Expected a flag of this command but received "--no-epoch"'],
    [["a.jpg", "b.jpg"], 'Expected at most 1 (IMAGE) for try but received "b.jpg"'],
    [["--set", "epochs"], 'Expected KEY=VALUE for --set but received "epochs"'],
    [["--set", "epoch=1"], 'Expected the name of a setting for --set but received "epoch"'],
    [["--set", "epochs=[1"], 'Expected a YAML value for --set epochs but received "[1"'],
    [["--set", "epochs=x"], 'Expected a whole number of at least 1 for --set epochs but received "x"'],
    [["--config", "vissl/linaer"], 'name of a published protocol for --config but received "vissl/linaer"'],
  ])("on the command line: %j", async (argv, message) => {
    expect((await complaint("--data", "d", ...argv)).message).toContain(message);
  });

  test("for what is missing", async () => {
    const error = await complaint();
    expect(error.message).toBe("Expected a text for --data but received nothing");
    expect(error.hint).toBe("The data.");
  });

  test("for files that extend one another in a circle, or one that is not there", async () => {
    write("a.yaml", "extends: b\n");
    write("b.yaml", "extends: a\n");
    expect((await complaint("--config", "a.yaml")).message).toContain("a.yaml → b.yaml → a.yaml");
    write("c.yaml", "data: d\nextends: vissl/liner\n");
    const error = await complaint("--config", "c.yaml");
    expect(error.message).toContain('for extends (c.yaml:2) but received "vissl/liner"');
    expect(error.hint).toMatch(/^Did you mean vissl\/linear /);
    write("d.yaml", "- 1\n");
    expect((await complaint("--config", "d.yaml")).message).toContain("the settings file d.yaml but received [1]");
  });
});

describe("--print-config", () => {
  test("gives a file that resolves to the same settings", async () => {
    write("first.yaml", "extends: vissl/linear\nlayers: [[res4, [AvgPool2d, [[8, 8], 3, 0]]], '1e3', 'null']\n");
    const argv = "--config first.yaml --features f --seeds 0,1,2 --heads mlp --report-on val --threads 3".split(" ");
    const first = await loadSettings({
      definition: linearSettings,
      flags: readFlags({ definition: linearSettings, argv }),
      cwd: folder,
    });
    expect(first.settings.heads).toEqual(["fc"]);
    write("second.yaml", printSettings(first));
    const flags = readFlags({ definition: linearSettings, argv: ["--config", "second.yaml"] });
    expect(await loadSettings({ definition: linearSettings, flags, cwd: folder })).toEqual(first);
  });

  test("prints what there is where required settings are missing", async () => {
    const flags = readFlags({ definition, argv: ["--epochs", "3"] });
    expect(printSettings(await loadPartialSettings({ definition, flags, cwd: folder }))).toContain("epochs: 3\n");
  });
});
