import { readFileSync } from "node:fs";
import path from "node:path";

import { UserError } from "../lib/errors.js";
import { writeFileAtomic } from "../lib/files.js";
import { packageRoot } from "../lib/package.js";
import { generalFlags } from "../lib/settings/general-flags.js";
import type { SettingsDefinition } from "../lib/settings/definition.js";
import { zooDocumentation } from "../lib/zoo/documentation.js";
import { complain, type Command } from "./command.js";
import { commands } from "./frozen-eval.js";
import { defaultOf, nameOfOption, optionGroups, usageLine } from "./help.js";

/** The reference of all commands, made from their settings, so that it cannot drift from what they do. */
export async function documentation(): Promise<string> {
  const all = await Promise.all(Object.values(commands).map((load) => load() as Promise<Command>));
  const parts = [
    "# The command line",
    "<!-- Made by `npm run docs` from the settings of the commands; edit those. -->",
    all.map(({ definition }) => `- [${definition.command}](#${definition.command}): ${definition.summary}`).join("\n"),
    ...generalPart(),
    ...all.flatMap(({ definition }) => commandPart(definition)),
  ];
  return `${parts.join("\n\n")}\n`;
}

function generalPart(): string[] {
  return [
    "## Settings, wherever they come from",
    "Every setting has a flag and a key. Keys may stand in a YAML file, which `--config` names; a file may extend " +
      "another (`extends: vissl/linear` looks beside the file, then in `configs/`). Where a setting is given twice, " +
      "what comes later in this list counts: the default, the files that are extended, the file itself, the flag, " +
      "`--set`. Unknown keys and flags are errors. `--set` takes YAML and dotted keys: `--set optimizer.lr=[0.01,0.1]`. " +
      "Relative paths begin where the command is called. A file that fixes a published protocol says so at its head: " +
      "`protocol: { id: vissl-linear, version: 1 }`.",
    table(
      ["Flag of every command", "Meaning"],
      generalFlags.map(({ flag, alias, placeholder, meaning }) => [
        code([[alias, flag].filter(Boolean).join(", "), placeholder].filter(Boolean).join(" ")),
        meaning,
      ]),
    ),
    "Lists are written with commas: `--lr 0.01,0.1`; commas inside of brackets do not separate. A switch is turned " +
      "off with `--no-`: `--no-nesterov`. Exit codes: 0 done, 1 a defect of the program (or the answer is no), 2 a " +
      "mistake in what was given, 130 and 143 stopped by Ctrl-C and by SIGTERM.",
  ];
}

function commandPart(definition: SettingsDefinition): string[] {
  const { command, summary, description, examples } = definition;
  return [
    `## ${command}`,
    `${summary}.${description === undefined ? "" : ` ${description}`}`,
    fenced("sh", usageLine(definition)),
    ...optionGroups(definition).flatMap(({ group, options }) => [
      `**${group}**`,
      table(
        ["Flag", "Key", "Value", "Default", "Meaning"],
        options.map((option) => {
          const value = defaultOf(option);
          const given = option.required ? "required" : value === undefined ? "" : code(value);
          return [code(nameOfOption(option)), code(option.key), option.words, given, option.description];
        }),
      ),
    ]),
    fenced("sh", examples.map(({ command: line, meaning }) => `# ${meaning}\n${line}`).join("\n\n")),
  ];
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function code(text: string): string {
  return `\`${text}\``;
}

function fenced(language: string, text: string): string {
  return `\`\`\`${language}\n${text}\n\`\`\``;
}

/** Documents that are made, and by what. */
const documents = { "cli.md": documentation, "zoo.md": zooDocumentation };

/** `node dist/cli/documentation.js` writes docs/cli.md and docs/zoo.md; with `--check` it only says whether they are current. */
async function run(argv: string[]): Promise<number> {
  for (const [name, make] of Object.entries(documents)) {
    const file = path.join(packageRoot, "docs", name);
    const wanted = await make();
    if (!argv.includes("--check")) {
      await writeFileAtomic(file, wanted);
    } else if (readFileSync(file, "utf8") !== wanted) {
      throw new UserError(`Expected docs/${name} to be what settings and zoo say but received another text`, {
        hint: 'Run "npm run docs".',
      });
    }
  }
  return 0;
}

if (require.main === module) {
  void run(process.argv.slice(2))
    .catch(complain)
    .then((exitCode) => (process.exitCode = exitCode));
}
