import { didYouMean, expected, messageOf, show, UserError } from "../errors.js";
import { exists, readJson } from "../files.js";
import { declaredShape, type Graph } from "./graph.js";
import { manifestSchema, type BackboneManifest } from "./manifest.js";
import { parsePooling } from "./pooling.js";

/**
 * Reads a backbone's manifest and checks it against its graph.
 *
 * @throws UserError naming the key that is wrong; where there is no manifest, one that says how to make it.
 */
export async function readManifest({ file, graph }: { file: string; graph: Graph }): Promise<BackboneManifest> {
  if (!(await exists(file))) {
    throw new UserError(`Expected a backbone's manifest at ${file} but there is no such file`, {
      hint: "Make it with: npx frozen-eval inspect DIR --write",
    });
  }
  const value = await readJson(file, "a backbone's manifest");
  const parsed = manifestSchema.safeParse(value);
  if (!parsed.success) throw wrongKey(file, value, parsed.error.issues[0]!);
  check(file, parsed.data, graph);
  return parsed.data;
}

function check(file: string, manifest: BackboneManifest, graph: Graph): void {
  const nodeExists = (key: string, node: string) => {
    if (!graph.nodes.has(node))
      throw expected("a node of the graph", `${key} in ${file}`, node, didYouMean(node, graph.nodes.keys()));
  };
  const { input } = manifest;
  nodeExists("input.node", input.node);
  const declared = declaredShape(graph.nodes.get(input.node)!);
  ([input.batch, input.height, input.width] as const).forEach((size, axis) => {
    const due = declared[axis] ?? -1;
    if (due > 0 && size !== due)
      throw expected(`${due}, as the graph has it,`, `input.${["batch", "height", "width"][axis]} in ${file}`, size);
  });
  const seen = new Map<string, string>();
  manifest.taps.forEach(({ name, node, kind, shape, pooling }, i) => {
    nodeExists(`taps.${i}.node`, node);
    // Layers become folders, and some file systems do not tell Conv from conv.
    const twin = seen.get(name.toLowerCase());
    if (twin !== undefined) throw expected(`another name than ${twin}`, `taps.${i}.name in ${file}`, name);
    seen.set(name.toLowerCase(), name);
    const rank = { map: 3, tokens: 2, vector: 1 }[kind];
    if (shape.length !== rank) throw expected(`${rank} sizes of a ${kind}`, `taps.${i}.shape in ${file}`, shape);
    try {
      parsePooling(pooling).outputShape(shape);
    } catch (error) {
      throw new UserError(`taps.${i}.pooling in ${file}: ${messageOf(error)}`, {
        hint: error instanceof UserError ? error.hint : undefined,
        cause: error,
      });
    }
  });
}

interface Issue {
  code?: string;
  path: PropertyKey[];
  message: string;
  keys?: string[];
}

function wrongKey(file: string, value: unknown, issue: Issue): UserError {
  const key = issue.path.map(String).join(".");
  if (issue.code === "unrecognized_keys") {
    const unknown = issue.keys?.[0] ?? "";
    return new UserError(
      `Expected known keys in ${file} but received ${[...issue.path.map(String), unknown].join(".")}`,
      {
        hint: didYouMean(unknown, issue.path.length === 0 ? Object.keys(manifestSchema.shape) : keysOf(key)),
      },
    );
  }
  const received = issue.path.reduce<unknown>(
    (inner, part) =>
      inner !== null && typeof inner === "object" ? (inner as Record<PropertyKey, unknown>)[part] : undefined,
    value,
  );
  return new UserError(`${issue.message} for ${key || "the manifest"} in ${file}; it received ${show(received)}`, {
    hint: "docs/file-formats.md describes the manifest.",
  });
}

function keysOf(key: string): string[] {
  const { input, source, taps } = manifestSchema.shape;
  if (key === "input") return Object.keys(input.shape);
  return key === "source" ? Object.keys(source.shape) : Object.keys(taps.element.shape);
}
