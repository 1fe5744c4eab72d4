import { Instance } from "./pickle-machine.js";
import type { PickleClass } from "./pickle-machine.js";

/** Classes that hold data and nothing else: Python's own, and those in which programs keep their settings. */
export const pythonClasses: PickleClass[] = [
  { name: "collections.OrderedDict", call: ([pairs]) => mapOf(pairs) },
  { name: "collections.defaultdict", call: () => new Map() },
  { name: "collections.Counter", call: ([counts]) => (counts instanceof Map ? counts : new Map()) },
  ...["argparse.Namespace", "types.SimpleNamespace"].map((name) => ({ name, call: () => new Instance(name) })),
  // Settings beside the weights: dictionaries, some of which also have attributes.
  ...["yacs.config.CfgNode", "easydict.EasyDict", "addict.addict.Dict"].map((name) => ({
    name,
    call: () => new Map(),
  })),
  ...["PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"].map((name) => ({
    name: `pathlib.${name}`,
    call: (parts: readonly unknown[]) => parts.filter((part) => typeof part === "string").join("/"),
  })),
  ...["builtins", "__builtin__"].flatMap((module) => [
    { name: `${module}.set`, call: setOf },
    { name: `${module}.frozenset`, call: setOf },
    { name: `${module}.dict`, call: ([pairs]: readonly unknown[]) => mapOf(pairs) },
    ...["int", "float", "str", "bool", "list", "tuple"].map((name) => ({ name: `${module}.${name}` })),
  ]),
  // How protocol 2 writes bytes: as text of the same code points.
  {
    name: "_codecs.encode",
    call: ([text]) => (typeof text === "string" ? new Uint8Array(Buffer.from(text, "latin1")) : null),
  },
];

function mapOf(pairs: unknown): Map<unknown, unknown> {
  const map = new Map<unknown, unknown>();
  if (Array.isArray(pairs)) {
    for (const pair of pairs as unknown[]) if (Array.isArray(pair)) map.set(pair[0], pair[1]);
  }
  return map;
}

function setOf([items]: readonly unknown[]): Set<unknown> {
  return new Set(Array.isArray(items) ? (items as unknown[]) : []);
}

/** By full name, as a dialect wants them. */
export function byName(classes: readonly PickleClass[]): Map<string, PickleClass> {
  return new Map(classes.map((one) => [one.name, one]));
}
