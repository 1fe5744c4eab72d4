import { parseDocument } from "yaml";
import { z } from "zod";

import { didYouMean, expected, nearest, show, UserError } from "../errors.js";
import { configChain } from "./configs.js";
import type { SettingsDefinition } from "./definition.js";
import { assign, type Flags } from "./flags.js";
import { isRecord, mergeLayers, nameOf, type MergedSettings, type SettingsLayer } from "./layer.js";
import { camelCase, jsonSchemaOf, optionsOf, type JsonSchema } from "./options.js";
import { wordsOf } from "./words.js";

/** Stands at the head of a YAML file that fixes a published protocol, and in the record of every run made by it. */
const protocolSchema = z.strictObject({
  id: z.string().min(1).describe("Name of the published protocol"),
  version: z.int().positive().describe("Rises when what the protocol computes changes"),
  meantFor: z.string().min(1).optional().describe("Machines and images a step that batch size and rates were made for"),
  labels: z.enum(["one", "several"]).optional().describe("Labels of an image"),
  used: z.array(z.string()).optional().describe("Of another program's file: keys that count"),
  changesNothing: z.record(z.string(), z.string()).optional().describe("Keys without effect here, and why"),
  differs: z.array(z.string()).optional().describe("What the other program does otherwise"),
});
export type ProtocolHeader = z.output<typeof protocolSchema>;

export interface LoadedSettings<S extends z.ZodObject = z.ZodObject> {
  /** Every setting, defaults included. */
  settings: z.output<S>;
  /** Of the YAML file, where it has one. */
  protocol?: ProtocolHeader;
}

/**
 * Settings from all their places. Later ones count more: defaults of the schema, another program's file, files that are
 * extended, the file of `--config`, flags, `--set`.
 *
 * @param flags a command line, read by `readFlags`.
 * @param cwd where relative names of files begin.
 * @throws UserError naming flag, or file and line, for an unknown key, a value of the wrong kind and a missing one.
 */
export async function loadSettings<S extends z.ZodObject>(options: {
  definition: SettingsDefinition<S>;
  flags: Flags;
  cwd?: string;
}): Promise<LoadedSettings<S>> {
  const { definition } = options;
  const loaded = validate(definition, definition.schema, await merge(options));
  definition.check?.(loaded.settings);
  return loaded;
}

/** As {@link loadSettings}, but what is required may be missing: for `--print-config` of a protocol without data. */
export async function loadPartialSettings(options: {
  definition: SettingsDefinition;
  flags: Flags;
  cwd?: string;
}): Promise<{ settings: Record<string, unknown>; protocol?: ProtocolHeader }> {
  const { definition } = options;
  return validate(definition, definition.schema.partial(), await merge(options));
}

/**
 * Settings of a program that calls the library: checked, and defaults filled in.
 *
 * @throws UserError as {@link loadSettings}.
 */
export function parseSettings<S extends z.ZodObject>(options: {
  definition: SettingsDefinition<S>;
  settings: z.input<S>;
}): z.output<S> {
  const { definition } = options;
  const layer: SettingsLayer = { values: options.settings, subject: nameOf, place: () => "the options" };
  const { settings } = validate(definition, definition.schema, mergeLayers([layer]));
  definition.check?.(settings);
  return settings;
}

async function merge(options: { definition: SettingsDefinition; flags: Flags; cwd?: string }): Promise<MergedSettings> {
  const { definition, flags, cwd = process.cwd() } = options;
  const files =
    flags.config === undefined ? [] : await configChain({ name: flags.config, folder: cwd, from: "--config", cwd });
  const layers = [...files, flags.layer, ...flags.set.map((text) => setLayer(text, definition))];
  const merged = mergeLayers(layers);
  const foreign = await definition.foreign?.({ given: merged.values, cwd });
  return foreign ? mergeLayers([foreign, ...layers]) : merged;
}

function setLayer(text: string, definition: SettingsDefinition): SettingsLayer {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) {
    throw expected("KEY=VALUE", "--set", text, "For example --set epochs=10 or --set optimizer.lr=[0.01,0.1].");
  }
  const path = name.trim().split(".").map(camelCase);
  const options = optionsOf(definition);
  const key = path.join(".");
  if (!options.some((option) => option.key === key || option.key.startsWith(`${key}.`))) {
    throw new UserError(`Expected the name of a setting for --set but received ${show(name)}`, {
      hint: didYouMean(
        key,
        options.map((option) => option.key),
      ),
    });
  }
  const document = parseDocument(value, { prettyErrors: false });
  if (document.errors.length > 0) {
    throw expected("a YAML value", `--set ${name}`, value, "Quote it: --set 'optimizer.lr=[0.01, 0.1]'.");
  }
  const values: Record<string, unknown> = {};
  assign(values, path, document.toJS());
  return { values, place: () => "--set", subject: (keys) => `--set ${nameOf(keys)}` };
}

function validate<S extends z.ZodObject>(
  definition: SettingsDefinition,
  schema: S,
  merged: MergedSettings,
): LoadedSettings<S> {
  const withHeader = schema.extend({ protocol: protocolSchema.optional() });
  const result = withHeader.safeParse(merged.values);
  if (!result.success) throw asUserError(result.error.issues[0]!, merged, withHeader, definition);
  const { protocol, ...settings } = result.data;
  return { settings: settings as z.output<S>, protocol: protocol as ProtocolHeader | undefined };
}

function asUserError(
  issue: z.core.$ZodIssue,
  merged: MergedSettings,
  schema: z.ZodObject,
  definition: SettingsDefinition,
): UserError {
  if (issue.code === "unrecognized_keys") return unknownKey(issue, merged, schema);
  const path = pathOf(issue.path, merged.values);
  const received = path.reduce<unknown>((value, key) => (isIndexable(value) ? value[key] : undefined), merged.values);
  const option = optionsOf(definition).find(
    ({ key }) => key === path.filter((one) => typeof one === "string").join("."),
  );
  const place = option?.positional ? option.placeholder : option?.flag;
  const subject = merged.origin(path)?.subject(path) ?? place ?? nameOf(path);
  const wanted = schemaAt(jsonSchemaOf(schema), path);
  const near = typeof received === "string" ? nearest(received, choicesOf(wanted)) : [];
  const hint = near.length > 0 ? `Did you mean ${near.join(" or ")}?` : option && sentence(option.description);
  return expected(wordsOf(wanted), subject, received, hint);
}

/** The names that a schema knows, where it is of names, or of names among other things. */
function choicesOf(schema: JsonSchema): string[] {
  const names = (schema.enum ?? []).filter((name) => typeof name === "string");
  return [...names, ...(schema.anyOf ?? []).flatMap((one) => choicesOf(one as JsonSchema))];
}

/** A value that stands alone where a list may stand was checked as the first of a list: it has no place of its own. */
function pathOf(path: PropertyKey[], values: unknown): PropertyKey[] {
  let value = values;
  for (const [i, key] of path.entries()) {
    if (key === 0 && !Array.isArray(value)) return path.slice(0, i);
    value = isIndexable(value) ? value[key] : undefined;
  }
  return path;
}

function unknownKey(issue: z.core.$ZodIssueUnrecognizedKeys, merged: MergedSettings, schema: z.ZodObject): UserError {
  const path = [...issue.path, issue.keys[0]!];
  const place = merged.origin(path)?.place(path) ?? nameOf(issue.path);
  const siblings = Object.keys(schemaAt(jsonSchemaOf(schema), issue.path).properties ?? {});
  return new UserError(`Expected the name of a setting at ${place} but received ${show(nameOf(path))}`, {
    hint: didYouMean(issue.keys[0]!, siblings),
  });
}

function schemaAt(schema: JsonSchema, path: PropertyKey[]): JsonSchema {
  let inner = schema;
  for (const key of path) {
    const next = typeof key === "number" ? (inner.prefixItems?.[key] ?? inner.items) : inner.properties?.[String(key)];
    if (next === undefined || typeof next === "boolean" || Array.isArray(next)) return inner;
    inner = next;
  }
  return inner;
}

function isIndexable(value: unknown): value is Record<PropertyKey, unknown> {
  return isRecord(value) || Array.isArray(value);
}

function sentence(text: string): string | undefined {
  return text === "" ? undefined : /[.?!]$/.test(text) ? text : `${text}.`;
}
