import { statSync } from "node:fs";
import path from "node:path";

import { expected, UserError } from "../errors.js";
import { readText } from "../files.js";
import { isRecord, mergeLayers, type MergedSettings, type SettingsLayer } from "../settings/layer.js";
import { readYamlLayer } from "../settings/yaml.js";
import { parseOverrideValue } from "./override-value.js";

/**
 * A configuration of VISSL's: its file, then the files that overrides lay over it (`+config/dir=name`), then the values
 * that overrides set (`config.A.B=v`, `+config.A.NEW=v`). All stands below the group `config`.
 *
 * @param options.overrides as VISSL's programs take them behind `config=…`.
 * @param options.cwd where relative names of files begin.
 * @throws UserError naming file and line, or the override.
 *
 * Source: Hydra's override grammar as far as VISSL uses it (protocols.md 1.9).
 */
export async function readVisslConfig(options: {
  file: string;
  overrides: readonly string[];
  cwd: string;
}): Promise<MergedSettings> {
  const { cwd } = options;
  const file = path.resolve(cwd, options.file);
  const layers = [await readGroupFile(file, cwd)];
  const values: SettingsLayer[] = [];
  for (const text of options.overrides) {
    const override = parseOverride(text);
    if (override.kind === "file") layers.push(await readGroupFile(overlayFile(override, file, text), cwd));
    else values.push(valueLayer(override, text));
  }
  return mergeLayers([...layers, ...values]);
}

type Override = { kind: "file"; group: string; name: string } | { kind: "value"; path: string[]; value: unknown };

const forms = "config.A.B=VALUE, +config.A.NEW=VALUE or +config/folder=file";

/** @throws UserError where it is none of Hydra's forms that VISSL uses. */
export function parseOverride(text: string): Override {
  const [, signs, key, value] = /^(\+{0,2})([\w./-]+)=(.*)$/s.exec(text) ?? [];
  if (key === undefined || value === undefined) {
    const hint = text.startsWith("~") ? "A key cannot be taken out; set it to what VISSL has without it." : undefined;
    throw expected(forms, "an override", text, hint);
  }
  if (key === "config") {
    throw expected(forms, "an override", text, "The configuration itself is named by --vissl FILE.yaml.");
  }
  if (key.includes("/")) {
    if (!key.startsWith("config/") || signs === "") {
      throw expected("+config/folder=file", "an override that lays a file over", text);
    }
    return { kind: "file", group: key, name: value };
  }
  const keys = key.split(".");
  if (keys.some((part) => part === "")) throw expected(forms, "an override", text);
  return { kind: "value", path: keys, value: parseOverrideValue(value, key) };
}

function valueLayer({ path: keys, value }: Extract<Override, { kind: "value" }>, text: string): SettingsLayer {
  const values = keys.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as Record<string, unknown>;
  return { values, place: () => text, subject: (at) => `${at.join(".")} (${text})` };
}

/** Groups are folders below the one that holds `config/`; a file outside of such a tree may have them beside it. */
function overlayFile({ group, name }: Extract<Override, { kind: "file" }>, file: string, override: string): string {
  const parts = path.dirname(file).split(path.sep);
  const at = parts.indexOf("config");
  const roots = [
    ...(at < 0 ? [] : [parts.slice(0, at).join(path.sep)]),
    ...(parts.lastIndexOf("config") === at ? [] : [parts.slice(0, parts.lastIndexOf("config")).join(path.sep)]),
    path.dirname(file),
  ];
  for (const root of roots) {
    const candidate = path.join(root || path.sep, group, `${name.replace(/\.yaml$/, "")}.yaml`);
    if (statSync(candidate, { throwIfNoEntry: false })?.isFile()) return candidate;
  }
  const looked = path.join(roots[0] || path.sep, group);
  throw new UserError(`Expected a file ${name}.yaml in ${looked} for ${override} but there is none`, {
    hint: "Groups are looked up below the folder that holds VISSL's config/, or beside the file of --vissl.",
  });
}

/** One file, which has to say that it stands at the root and hold all below `config`. */
async function readGroupFile(file: string, cwd: string): Promise<SettingsLayer> {
  const layer = await readYamlLayer(file, cwd);
  if (!marked(await readText(file, "a configuration of VISSL's"))) {
    throw new UserError(
      `Expected the line "# @package _global_" at the head of ${layer.place([])}:1 but there is none`,
      {
        hint: "Without it VISSL itself does not see the file's settings.",
      },
    );
  }
  const { config } = layer.values;
  if (!isRecord(config)) {
    throw expected("settings below the group config", `the file ${layer.place(["config"])}`, config);
  }
  return layer;
}

/** Hydra looks for the marker among the comments at the head of a file. */
function marked(text: string): boolean {
  for (const line of text.split("\n")) {
    if (/^\s*#\s*@package\s+_global_\s*$/.test(line)) return true;
    if (!/^\s*(#.*)?$/.test(line)) return false;
  }
  return false;
}
