import { didYouMean, show, UserError } from "../lib/errors.js";
import { packageVersion } from "../lib/package.js";
import { complain, print, runCommand, type Command } from "./command.js";

/** All commands, each loaded only when it is called, in the order in which a newcomer meets them. */
export const commands = {
  quickstart: async () => (await import("./quickstart.js")).quickstart,
  setup: async () => (await import("./setup.js")).setup,
  doctor: async () => (await import("./doctor.js")).doctor,
  convert: async () => (await import("./convert.js")).convert,
  inspect: async () => (await import("./inspect.js")).inspect,
  preprocess: async () => (await import("./preprocess.js")).preprocess,
  zoo: async () => (await import("./zoo.js")).zoo,
  "extract-features": async () => (await import("./extract-features.js")).extractFeatures,
  store: async () => (await import("./store.js")).store,
  "eval-linear": async () => (await import("./eval-linear.js")).evalLinear,
  "train-svm": async () => (await import("./train-svm.js")).trainSvm,
  "export-classifier": async () => (await import("./export-classifier.js")).exportClassifier,
  compare: async () => (await import("./compare.js")).compare,
} satisfies Record<string, () => Promise<Command>>;

type CommandName = keyof typeof commands;

/**
 * The program: the first argument names the command.
 *
 * @returns the exit code.
 */
export async function main(argv: string[]): Promise<number> {
  const [first, ...rest] = argv;
  try {
    if (first === "--version") return await print(`${packageVersion()}\n`, 0);
    if (first === undefined || first === "--help" || first === "-h") return await print(await overview(), 0);
    if (first === "help") return rest[0] === undefined ? await print(await overview(), 0) : await help(rest[0]);
    return await runCommand(await find(first), rest);
  } catch (error) {
    return complain(error);
  }
}

async function help(name: string): Promise<number> {
  return runCommand(await find(name), ["--help"]);
}

async function find(name: string): Promise<Command> {
  if (!Object.hasOwn(commands, name)) {
    throw new UserError(`Expected a command of frozen-eval but received ${show(name)}`, {
      hint: didYouMean(name, Object.keys(commands)),
    });
  }
  return commands[name as CommandName]();
}

async function overview(): Promise<string> {
  const all = await Promise.all(Object.values(commands).map((load) => load() as Promise<Command>));
  const longest = Math.max(...all.map(({ definition }) => definition.command.length));
  return [
    "frozen-eval: how good a frozen vision backbone is, at every layer.",
    "",
    "Usage: npx frozen-eval COMMAND [options]",
    "",
    "Commands:",
    ...all.map(({ definition }) => `  ${definition.command.padEnd(longest + 2)}${definition.summary}`),
    "",
    'Help on one of them: npx frozen-eval COMMAND --help. "npx eval-linear" is "npx frozen-eval eval-linear",',
    '"npx train-svm" is "npx frozen-eval train-svm".',
    "",
  ].join("\n");
}
