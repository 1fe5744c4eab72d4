import type { z } from "zod";

import type { SettingsLayer } from "./layer.js";

/**
 * All settings of one command. The schema is the only place where a setting is told: flags, keys in YAML, types,
 * defaults, the help and docs/cli.md are read from it (`options.ts`).
 *
 * Each leaf of the schema carries `.describe("what it means")` and, where the rule does not fit, `.meta({ ... })` with
 * the keys of {@link SettingMeta}. Keys are camelCase, in YAML as in TypeScript; flags are the same in kebab-case.
 */
export interface SettingsDefinition<S extends z.ZodObject = z.ZodObject> {
  /** Name of the command, e.g. `eval-linear`. */
  command: string;
  /** Whether it may also be called by its own name (`npx eval-linear`) instead of `npx frozen-eval <command>`. */
  ownProgram?: boolean;
  /** What it does, in one sentence without a full stop. */
  summary: string;
  /** What a person should know before the options, in a few sentences. */
  description?: string;
  /** A `z.strictObject`; its nested objects are strict too. */
  schema: S;
  examples: { command: string; meaning: string }[];
  /** Settings from another program's file that the others name; they count less than all others. */
  foreign?(options: { given: Record<string, unknown>; cwd: string }): Promise<SettingsLayer | undefined>;
  /** Rules between settings, which no single one of them can tell. Throws a UserError. */
  check?(settings: z.output<S>): void;
}

/** What the schema of a setting may say about itself besides its type, in `.meta({ ... })`. */
export interface SettingMeta {
  /** The flag's name without dashes, where it is not the last key in kebab-case. */
  flag?: string;
  /** A one-letter flag. */
  alias?: string;
  /** Heading in the help; inherited by the settings inside of an object. */
  group?: string;
  /** What stands for the value in the help, e.g. `DIR`. */
  placeholder?: string;
  /**
   * Given by its place instead of a flag; positional settings come in the order of the schema. A list takes all
   * arguments that are left, so only the last of them may be one.
   */
  positional?: boolean;
  /** What a value is, with its article, where the type says too little: `a folder`. */
  expected?: string;
}

declare module "zod" {
  // Zod looks for this interface by name: it makes `.meta()` check these keys.
  // eslint-disable-next-line @typescript-eslint/no-empty-object-type
  interface GlobalMeta extends SettingMeta {}
}

export type SettingsOf<D> = D extends SettingsDefinition<infer S> ? z.output<S> : never;

/** Names the type of `definition`; what it says is tested for all commands in `__tests__/cli/definitions.test.ts`. */
export function defineSettings<S extends z.ZodObject>(definition: SettingsDefinition<S>): SettingsDefinition<S> {
  return definition;
}
