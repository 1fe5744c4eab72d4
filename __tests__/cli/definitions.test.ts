import type { Command } from "../../cli/command.js";
import { commands } from "../../cli/frozen-eval.js";
import { UserError } from "../../lib/errors.js";
import type { SettingsDefinition } from "../../lib/settings/definition.js";
import { readFlags } from "../../lib/settings/flags.js";
import { generalFlags, programOf } from "../../lib/settings/general-flags.js";
import { loadPartialSettings, loadSettings } from "../../lib/settings/load.js";
import { optionsOf, type JsonSchema, type SettingOption } from "../../lib/settings/options.js";

/** Every setting of every command is checked by the same rules: one that is added is checked without a new test. */
describe.each(Object.entries(commands))("%s", (name, loadCommand) => {
  let definition: SettingsDefinition;
  beforeAll(async () => {
    definition = ((await loadCommand()) as Command).definition;
  });

  const complaint = async (argv: string[]) => {
    const error: unknown = await Promise.resolve()
      .then(() => loadPartialSettings({ definition, flags: readFlags({ definition, argv }) }))
      .catch((thrown: unknown) => thrown);
    if (!(error instanceof UserError)) throw new Error(`${argv.join(" ")} was accepted`);
    return error.message;
  };

  test("is called what the program calls it, and says what it does and how it is used", () => {
    expect(definition.command).toBe(name);
    expect(definition.summary).toMatch(/^[A-Z].*[^.]$/);
    expect(definition.examples.length).toBeGreaterThan(0);
  });

  test("explains each setting, and gives each a flag of its own", () => {
    const options = optionsOf(definition);
    for (const { key, description } of options)
      expect([key, description]).toEqual([key, expect.stringMatching(/^\S.{3,}[^.]$/)]);
    const flags = [...options, ...generalFlags].flatMap(({ flag, alias }) =>
      alias === undefined ? [flag] : [flag, alias],
    );
    expect(flags).toEqual([...new Set(flags)]);
    expect(flags.filter((flag) => flag.startsWith("--no-"))).toEqual([]);
  });

  test("refuses keys that it does not know, at every depth", async () => {
    const objects = new Set(optionsOf(definition).map(({ path }) => path.slice(0, -1).join(".")));
    for (const object of objects) {
      const key = object === "" ? "unheardOf" : `${object}.unheardOf`;
      expect(await complaint(["--set", `${key}=1`])).toContain(`but received "${key}"`);
      if (object !== "") expect(await complaint(["--set", `${object}={unheardOf: 1}`])).toContain(`"${key}"`);
    }
  });

  test("refuses a wrong value of each setting in a sentence that names it", async () => {
    for (const option of optionsOf(definition)) {
      for (const wrong of wrongValues(option.schema)) {
        const text = JSON.stringify(wrong);
        expect(await complaint(["--set", `${option.key}=${text}`])).toMatch(
          new RegExp(
            `^Expected .+ for --set ${option.key}(\\[\\d+\\])* but received |` +
              `^Expected the name of a setting at --set but received "${option.key}\\[`,
          ),
        );
        if (reachableByFlag(option, wrong)) {
          const given = Array.isArray(wrong) ? wrong.join(",") : String(wrong);
          expect(await complaint([`${option.flag}=${given}`])).toContain(` for ${option.flag} but received `);
        }
      }
    }
  });

  test("gives examples that are accepted as they stand", async () => {
    for (const { command } of definition.examples) {
      expect(command).toMatch(new RegExp(`^${programOf(definition)}( |$)`));
      const argv = words(command.slice(programOf(definition).length));
      const loaded = await loadSettings({ definition, flags: readFlags({ definition, argv }) });
      expect(loaded.settings).toBeDefined();
    }
  });
});

/** Values that a schema must refuse: of another kind, and just outside of its range. */
function wrongValues(schema: JsonSchema): unknown[] {
  if (schema.enum) return ["no such choice", 3];
  if (schema.anyOf) {
    const takesNumbers = schema.anyOf.some((one) => (one as JsonSchema).type === "number");
    return takesNumbers ? [null, true, "no such value"] : [3.5];
  }
  const { minimum, exclusiveMinimum, maximum, exclusiveMaximum } = schema;
  switch (schema.type) {
    case "boolean":
      return ["perhaps", 1];
    case "string":
      return [3, [], ...(schema.minLength ? [""] : [])];
    case "integer":
    case "number":
      return [
        "many",
        null,
        ...(schema.type === "integer" ? [1.5] : []),
        ...(minimum === undefined ? [] : [minimum - 1]),
        ...(exclusiveMinimum === undefined ? [] : [exclusiveMinimum]),
        ...(maximum === undefined || maximum === Number.MAX_SAFE_INTEGER ? [] : [maximum + 1]),
        ...(exclusiveMaximum === undefined ? [] : [exclusiveMaximum]),
      ];
    case "array":
      return [
        { not: "a list" },
        ...(schema.minItems ? [[]] : []),
        ...wrongValues(schema.items as JsonSchema).map((item) => [item]),
      ];
    default:
      throw new Error(`This test does not know what a ${String(schema.type)} refuses`);
  }
}

/** A flag's text can stand for numbers and words alone; what would be read as a good text is left out. */
function reachableByFlag({ positional, schema }: SettingOption, wrong: unknown): boolean {
  const value: unknown = Array.isArray(wrong) ? wrong[0] : wrong;
  const items = schema.type === "array" ? (schema.items as JsonSchema) : schema;
  const takesText = items.type === "string" || items.anyOf !== undefined;
  if (positional || items.type === "boolean") return false;
  return typeof value === "number" ? !takesText || items.enum !== undefined : typeof value === "string" && value !== "";
}

/** A line of shell, split as the shell would: blanks separate, double quotes hold together. */
function words(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare!);
}
