import path from "node:path";

import { isNode, LineCounter, parseDocument } from "yaml";

import { UserError, expected } from "../errors.js";
import { readText } from "../files.js";
import { isRecord, nameOf, type SettingsLayer } from "./layer.js";

/**
 * One YAML file of settings, without those that it extends.
 *
 * @throws UserError with file and line where it is not YAML, or not settings by name.
 */
export async function readYamlLayer(file: string, cwd: string): Promise<SettingsLayer> {
  const text = await readText(file, "a settings file");
  const shown = shorter(file, cwd);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const mistake = document.errors[0];
  if (mistake) {
    throw new UserError(
      `Expected YAML at ${shown}:${lines.linePos(mistake.pos[0]).line} but received text that does not parse: ` +
        firstLine(mistake.message),
      { cause: mistake },
    );
  }
  const values: unknown = document.toJS() ?? {};
  if (!isRecord(values)) {
    throw expected("settings by name (key: value)", `the settings file ${shown}`, values);
  }
  const place = (keys: PropertyKey[]) => {
    for (let length = keys.length; length > 0; length--) {
      const start = startOf(document, keys.slice(0, length));
      if (start !== undefined) return `${shown}:${lines.linePos(start).line}`;
    }
    return shown;
  };
  return { values, place, subject: (keys) => `${nameOf(keys)} (${place(keys)})` };
}

/** Where the value at `keys` begins in the text; for a key whose value is missing, where the key does. */
function startOf(document: ReturnType<typeof parseDocument>, keys: PropertyKey[]): number | undefined {
  const parent: unknown = keys.length > 1 ? document.getIn(keys.slice(0, -1), true) : document.contents;
  if (isRecord(parent) && "items" in parent && Array.isArray(parent.items)) {
    for (const item of parent.items as unknown[]) {
      if (!isRecord(item) || !("key" in item)) continue;
      const key = item.key;
      if (isNode(key) && "value" in key && key.value === keys.at(-1)) return key.range?.[0];
    }
  }
  const node: unknown = document.getIn(keys, true);
  return isNode(node) ? node.range?.[0] : undefined;
}

/** A file as a person at `cwd` calls it. */
export function shorter(file: string, cwd: string): string {
  const relative = path.relative(cwd, file);
  return relative.startsWith("..") ? file : relative;
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0]!;
}
