import type { SettingsDefinition } from "../lib/settings/definition.js";
import { generalFlags, programOf } from "../lib/settings/general-flags.js";
import { optionsOf, type SettingOption } from "../lib/settings/options.js";

const width = 100;
const indent = 30;
const noBreak = "\u00a0";

/** The help of one command, made from its settings. */
export function helpText(definition: SettingsDefinition): string {
  const { summary, description, examples } = definition;
  const parts = [
    ...wrap(`${summary}.`, 0),
    "",
    `Usage: ${usageLine(definition)}`,
    ...(description === undefined ? [] : ["", ...wrap(description, 0)]),
    ...optionGroups(definition).flatMap(({ group, options }) => ["", `${group}:`, ...options.flatMap(optionLines)]),
    "",
    "Every command:",
    ...generalFlags.flatMap(({ flag, alias, placeholder, meaning }) =>
      entry([alias, flag].filter(Boolean).join(", ") + (placeholder === undefined ? "" : ` ${placeholder}`), meaning),
    ),
    "",
    "Examples:",
    ...examples.flatMap(({ command, meaning }) => [`  ${command}`, `      ${meaning}`]),
  ];
  return `${parts.join("\n")}\n`;
}

/** `npx frozen-eval inspect DIR [options]`; what must be given stands outside of the brackets. */
export function usageLine(definition: SettingsDefinition): string {
  const options = optionsOf(definition);
  const words = options
    .filter(({ required, positional }) => required || positional)
    .sort((a, b) => Number(b.positional) - Number(a.positional))
    .map((option) => {
      const word = option.positional ? option.placeholder! : nameOfOption(option);
      return option.required ? word : `[${word}]`;
    });
  return [programOf(definition), ...words, "[options]"].join(" ");
}

/** Options under their headings, in the order of the schema. */
export function optionGroups(definition: SettingsDefinition): { group: string; options: SettingOption[] }[] {
  const groups = new Map<string, SettingOption[]>();
  for (const option of optionsOf(definition)) {
    const group = option.positional ? "Arguments" : option.group;
    groups.set(group, [...(groups.get(group) ?? []), option]);
  }
  return [...groups].map(([group, options]) => ({ group, options }));
}

/** As it is typed: `--lr X,...`, `--[no-]nesterov`, `DIR`. */
export function nameOfOption(option: SettingOption): string {
  const { flag, alias, placeholder, positional } = option;
  if (positional) return placeholder!;
  const long = option.default === true ? flag.replace("--", "--[no-]") : flag;
  return [alias, long].filter(Boolean).join(", ") + (placeholder === undefined ? "" : ` ${placeholder}`);
}

/** A default as it would be given to the flag; undefined where it goes without saying. */
export function defaultOf({ default: value }: SettingOption): string | undefined {
  if (value === undefined || value === false) return undefined;
  if (value === true) return "yes";
  return Array.isArray(value) ? value.join(",") : String(value);
}

function optionLines(option: SettingOption): string[] {
  const value = defaultOf(option);
  const note = option.required && !option.positional ? "(required)" : value === undefined ? "" : `(default: ${value})`;
  // Held together by a no-break space, so that a default is never torn from its word.
  return entry(nameOfOption(option), `${option.description} ${note.replaceAll(" ", noBreak)}`.trim());
}

function entry(name: string, meaning: string): string[] {
  const [first = "", ...rest] = wrap(meaning, indent);
  const start = `  ${name}`;
  return start.length < indent - 1 ? [start + first.slice(start.length), ...rest] : [start, first, ...rest];
}

function wrap(text: string, margin: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/[ \n]+/)) {
    if (line !== "" && margin + line.length + 1 + word.length > width) {
      lines.push(line);
      line = "";
    }
    line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].map((one) => " ".repeat(margin) + one.replaceAll(noBreak, " "));
}
