import fs from "node:fs/promises";
import path from "node:path";

import type { z } from "zod";

import { matchesGlob } from "../backbones/layers.js";
import { didYouMean, expected, show, UserError } from "../errors.js";
import { asReadError } from "../files.js";
import { packageRoot } from "../package.js";
import { readYamlLayer } from "../settings/yaml.js";
import { checkpointSchema, publisherSchema, zooEntry, type ZooEntry } from "./entry.js";

/** The list of published checkpoints that comes with the toolkit, one file a publisher. */
const zooFolder = path.join(packageRoot, "models", "zoo");

/**
 * Reads the zoo.
 *
 * @param folder a list of one's own, in the format of `models/zoo/`.
 * @throws UserError naming entry, file and line of what is wrong.
 */
export async function readZoo(folder: string = zooFolder): Promise<ZooEntry[]> {
  const files = await fs.readdir(folder).catch((error: unknown) => {
    throw asReadError(error, folder, "the zoo");
  });
  const entries: ZooEntry[] = [];
  const places = new Map<string, string>();
  for (const file of files.filter((one) => one.endsWith(".yaml")).sort()) {
    for (const { entry, place } of await readPublisher(path.join(folder, file))) {
      entries.push(entry);
      for (const name of [entry.name, ...entry.names]) {
        const first = places.get(name);
        if (first) throw new UserError(`Expected one checkpoint of a name but ${name} is at ${first} and at ${place}`);
        places.set(name, place);
      }
    }
  }
  return entries;
}

/**
 * The checkpoint of a name.
 *
 * @throws UserError where there is none, with the names near it.
 */
export function findEntry(entries: ZooEntry[], name: string): ZooEntry {
  const found = entries.find((entry) => entry.name === name || entry.names.includes(name));
  if (found) return found;
  throw new UserError(`Expected a name of the zoo but received ${show(name)}`, {
    hint: didYouMean(
      name,
      entries.flatMap((entry) => [entry.name, ...entry.names]),
    ),
  });
}

/**
 * Those whose name, architecture, publisher or licence a glob describes; upper and lower case are the same.
 *
 * @throws UserError where there is none.
 */
export function matching(entries: ZooEntry[], glob: string): ZooEntry[] {
  const wanted = glob.toLowerCase();
  const found = entries.filter(({ name, names, arch, publisher, licence = "" }) =>
    [name, ...names, arch, publisher, licence].some((text) => matchesGlob(text.toLowerCase(), wanted)),
  );
  if (found.length > 0) return found;
  throw expected("a glob that matches something of the zoo", "--match", glob, "For example *resnet50, DINO* or MIT.");
}

async function readPublisher(file: string): Promise<{ entry: ZooEntry; place: string }[]> {
  const layer = await readYamlLayer(file, process.cwd());
  const { data, error } = publisherSchema.safeParse(layer.values);
  if (error) throw asUserError(error.issues[0]!, layer.values, (keys) => layer.place(keys));
  return data.checkpoints.map((checkpoint, i) => ({
    entry: zooEntry(checkpoint, data),
    place: layer.place(["checkpoints", i]),
  }));
}

function asUserError(issue: z.core.$ZodIssue, values: unknown, place: (keys: PropertyKey[]) => string): UserError {
  const unknown = issue.code === "unrecognized_keys" ? issue.keys[0]! : undefined;
  const keys = unknown === undefined ? issue.path : [...issue.path, unknown];
  const inside = keys[0] === "checkpoints" && typeof keys[1] === "number";
  const of = inside ? ` of ${nameOf(at(values, keys.slice(0, 2)), keys[1] as number)}` : "";
  if (unknown !== undefined) {
    const known = Object.keys((inside ? checkpointSchema : publisherSchema).shape);
    return new UserError(`Expected a known field${of} (${place(keys)}) but received ${show(unknown)}`, {
      hint: didYouMean(unknown, known),
    });
  }
  const field = keys.slice(inside ? 2 : 0).join(".") || "the origin";
  return expected(issue.message, `${field}${of} (${place(keys)})`, at(values, keys));
}

function at(values: unknown, keys: PropertyKey[]): unknown {
  return keys.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], values);
}

/** What a person calls an entry that may be incomplete. */
function nameOf(entry: unknown, index: number): string {
  const { title, arch } = (entry ?? {}) as { title?: unknown; arch?: unknown };
  return typeof title === "string" && typeof arch === "string" ? `${title}_${arch}` : `checkpoint ${index + 1}`;
}
