import { z } from "zod";

import type { SettingMeta, SettingsDefinition } from "./definition.js";
import { wordsOf } from "./words.js";

/** A schema as data: zod's JSON Schema, which also carries what `.meta()` said. */
export type JsonSchema = z.core.JSONSchema.BaseSchema & SettingMeta;

/** One setting: a leaf of a command's schema, and all that flags, help and documentation need to know of it. */
export interface SettingOption {
  /** Keys from the root, e.g. `["optimizer", "lr"]`. */
  path: string[];
  /** The same with dots, as in `--set`. */
  key: string;
  /** With its dashes, e.g. `--lr`. */
  flag: string;
  /** With its dash, e.g. `-q`. */
  alias?: string;
  group: string;
  /** What stands for the value in the help; undefined for switches. */
  placeholder?: string;
  positional: boolean;
  description: string;
  /** What a value is, with its article, e.g. `a number in [0, 1)`. */
  words: string;
  /** undefined where there is none. */
  default: unknown;
  required: boolean;
  schema: JsonSchema;
}

/** The settings of a command, in the order of its schema. */
export function optionsOf(definition: SettingsDefinition): SettingOption[] {
  const known = cache.get(definition);
  if (known) return known;
  const options = leaves(jsonSchemaOf(definition.schema), [], "Options");
  cache.set(definition, options);
  return options;
}

const cache = new WeakMap<SettingsDefinition, SettingOption[]>();

/** A zod schema as data. Where values are converted (aliases), it describes what comes out. */
export function jsonSchemaOf(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { io: "output", unrepresentable: "any" });
}

function leaves(object: JsonSchema, above: string[], group: string): SettingOption[] {
  return Object.entries(object.properties ?? {}).flatMap(([name, property]) => {
    const schema = property as JsonSchema;
    const path = [...above, name];
    if (schema.properties) return leaves(schema, path, schema.group ?? group);
    return [
      {
        path,
        key: path.join("."),
        flag: `--${schema.flag ?? kebabCase(name)}`,
        alias: schema.alias === undefined ? undefined : `-${schema.alias}`,
        group: schema.group ?? group,
        placeholder: schema.type === "boolean" ? undefined : (schema.placeholder ?? placeholderOf(schema)),
        positional: schema.positional ?? false,
        description: schema.description ?? "",
        words: wordsOf(schema),
        default: schema.default,
        required: (object.required ?? []).includes(name) && schema.default === undefined,
        schema,
      },
    ];
  });
}

function placeholderOf(schema: JsonSchema): string {
  if (schema.enum) return schema.enum.join("|");
  if (schema.type === "array") return `${placeholderOf((schema.items ?? {}) as JsonSchema)},...`;
  if (schema.type === "integer") return "N";
  return schema.type === "number" ? "X" : "TEXT";
}

/** `valFraction` → `val-fraction`. */
function kebabCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `val-fraction` → `valFraction`. */
export function camelCase(name: string): string {
  return name.replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
