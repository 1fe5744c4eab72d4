import { readdirSync, statSync } from "node:fs";
import path from "node:path";

import { didYouMean, show, UserError } from "../errors.js";
import { packageRoot } from "../package.js";
import type { SettingsLayer } from "./layer.js";
import { readYamlLayer, shorter } from "./yaml.js";

/** The published protocols that come with the package. */
export const configsFolder = path.join(packageRoot, "configs");

/**
 * A YAML file and those that it extends, the outermost ancestor first.
 *
 * @param name a file, or the name of one in `configs/` (`vissl/linear`).
 * @param folder where a relative name is looked up first.
 * @param from what names it in messages, e.g. `--config`.
 * @throws UserError where a file is missing, is no YAML, or extends itself.
 */
export async function configChain(options: {
  name: string;
  folder: string;
  from: string;
  cwd: string;
}): Promise<SettingsLayer[]> {
  const { cwd } = options;
  const chain: SettingsLayer[] = [];
  const visited: string[] = [];
  let next: { name: string; folder: string; from: string } | undefined = options;
  while (next) {
    const file = findConfig(next);
    if (visited.includes(file)) {
      const circle = [...visited.slice(visited.indexOf(file)), file].map((one) => shorter(one, cwd)).join(" → ");
      throw new UserError(`Expected settings files that end in one without "extends" but received a circle: ${circle}`);
    }
    visited.push(file);
    const layer = await readYamlLayer(file, cwd);
    const { extends: parent, ...values } = layer.values;
    chain.unshift({ ...layer, values });
    if (parent !== undefined && typeof parent !== "string") {
      throw new UserError(
        `Expected the name of one settings file for ${layer.subject(["extends"])} but received ${show(parent)}`,
      );
    }
    next =
      parent === undefined ? undefined : { name: parent, folder: path.dirname(file), from: layer.subject(["extends"]) };
  }
  return chain;
}

function findConfig({ name, folder, from }: { name: string; folder: string; from: string }): string {
  for (const base of [folder, configsFolder]) {
    for (const ending of ["", ".yaml", ".yml"]) {
      const file = path.resolve(base, name + ending);
      if (statSync(file, { throwIfNoEntry: false })?.isFile()) return file;
    }
  }
  throw new UserError(
    `Expected a settings file or the name of a published protocol for ${from} but received ${show(name)}`,
    {
      hint: didYouMean(name, configNames()),
    },
  );
}

/** The names of the published protocols, e.g. `vissl/linear`. */
export function configNames(): string[] {
  return readdirSync(configsFolder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".yaml"))
    .map((file) => file.slice(0, -".yaml".length).split(path.sep).join("/"))
    .sort();
}
