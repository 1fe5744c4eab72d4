import { Parser } from "yargs/helpers";

import { didYouMean, expected, show, UserError } from "../errors.js";
import type { SettingsDefinition } from "./definition.js";
import { generalFlags, programOf } from "./general-flags.js";
import type { SettingsLayer } from "./layer.js";
import { optionsOf, type SettingOption } from "./options.js";
import { valueOfText } from "./text.js";

/** A command line, read. */
export interface Flags {
  /** The settings among the flags and arguments. */
  layer: SettingsLayer;
  config?: string;
  /** `KEY=VALUE` of each `--set`. */
  set: string[];
  printConfig: boolean;
  json: boolean;
  quiet: boolean;
}

/**
 * Reads the arguments after the command's name. Values are converted as the schema asks, and not yet validated.
 *
 * @throws UserError for a flag that does not exist, that lacks its value or that is given twice, and for too many
 * arguments.
 */
export function readFlags(options: { definition: SettingsDefinition; argv: string[] }): Flags {
  const { definition, argv } = options;
  const settings = optionsOf(definition);
  const flagged = settings.filter(({ positional }) => !positional);
  const parsed = parse(argv, flagged);
  refuseUnknown(parsed, argv, flagged);

  const values: Record<string, unknown> = {};
  const subjects = new Map<string, string>();
  const give = (option: SettingOption, value: unknown, subject: string) => {
    assign(values, option.path, value);
    subjects.set(option.key, subject);
  };
  for (const option of flagged) {
    const given = parsed[bare(option.flag)];
    if (given !== undefined) give(option, convert(given, option), option.flag);
  }
  const places = settings.filter(({ positional }) => positional);
  const positionals = parsed._.map(String);
  const last = places.at(-1);
  const open = last?.schema.type === "array";
  if (positionals.length > places.length && !open) {
    const most =
      places.length === 0 ? "no argument" : `at most ${places.length} (${places.map((o) => o.placeholder).join(", ")})`;
    throw new UserError(`Expected ${most} for ${definition.command} but received ${show(positionals[places.length])}`, {
      hint: `Settings are given as flags: see "${programOf(definition)} --help".`,
    });
  }
  places.forEach((option, i) => {
    // A list takes all arguments that are left, each as it stands: commas may be part of a path.
    const rest = positionals.slice(i);
    if (open && option === last && rest.length > 0) give(option, rest, option.placeholder!);
    else if (rest.length > 0) give(option, valueOfText(rest[0]!, option.schema), option.placeholder!);
  });

  const subjectOf = (path: PropertyKey[]) => {
    for (let length = path.length; length > 0; length--) {
      const subject = subjects.get(path.slice(0, length).join("."));
      if (subject !== undefined) return subject;
    }
    return path.join(".");
  };
  return {
    layer: { values, subject: subjectOf, place: subjectOf },
    config: single(parsed["config"], "--config"),
    set: texts(parsed["set"], "--set"),
    printConfig: parsed["print-config"] === true,
    json: parsed["json"] === true,
    quiet: parsed["quiet"] === true,
  };
}

interface Parsed {
  _: (string | number)[];
  [name: string]: unknown;
}

function parse(argv: string[], options: SettingOption[]): Parsed {
  const all = [...options, ...generalFlags].map(({ flag, alias, placeholder }) => ({ flag, alias, placeholder }));
  const switches = all.filter(({ placeholder }) => placeholder === undefined);
  const withValue = all.filter(({ placeholder }) => placeholder !== undefined);
  const aliases = all.flatMap(({ flag, alias }) => (alias === undefined ? [] : [[bare(flag), [bare(alias)]] as const]));
  return Parser(argv, {
    boolean: switches.map(({ flag }) => bare(flag)),
    string: withValue.map(({ flag }) => bare(flag)),
    alias: Object.fromEntries(aliases.map(([name, short]) => [name, [...short]])),
    configuration: {
      "camel-case-expansion": false,
      "dot-notation": false,
      "parse-numbers": false,
      "parse-positional-numbers": false,
      "short-option-groups": false,
      "strip-aliased": true,
    },
  });
}

function refuseUnknown(parsed: Parsed, argv: string[], options: SettingOption[]): void {
  const known = [...options.map(({ flag }) => flag), ...generalFlags.map(({ flag }) => flag)];
  for (const name of Object.keys(parsed)) {
    if (name === "_" || known.includes(`--${name}`)) continue;
    const token = argv.find((one) => new RegExp(`^--?(no-)?${escaped(name)}(=|$)`).test(one)) ?? `--${name}`;
    throw new UserError(`Expected a flag of this command but received ${show(token.split("=", 1)[0])}`, {
      hint: didYouMean(`--${name}`, known),
    });
  }
}

function convert(given: unknown, option: SettingOption): unknown {
  if (option.placeholder === undefined) {
    if (Array.isArray(given)) throw givenTwice(option.flag);
    return given;
  }
  const list = option.schema.type === "array";
  const all = texts(given, option.flag);
  if (all.length > 1 && !list) throw givenTwice(option.flag);
  return valueOfText(all.join(","), option.schema);
}

function single(given: unknown, flag: string): string | undefined {
  const all = texts(given, flag);
  if (all.length > 1) throw givenTwice(flag);
  return all[0];
}

function texts(given: unknown, flag: string): string[] {
  if (given === undefined) return [];
  const all = (Array.isArray(given) ? given : [given]).map(String);
  if (all.includes("")) throw expected("a value", flag, undefined);
  return all;
}

function givenTwice(flag: string): UserError {
  return new UserError(`Expected ${flag} once but received it several times`);
}

export function assign(values: Record<string, unknown>, path: string[], value: unknown): void {
  let inner = values;
  for (const key of path.slice(0, -1)) {
    inner[key] ??= {};
    inner = inner[key] as Record<string, unknown>;
  }
  inner[path.at(-1)!] = value;
}

function bare(flag: string): string {
  return flag.replace(/^--?/, "");
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
