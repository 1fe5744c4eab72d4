import { blockNames } from "./block-names.js";
import { ancestors, descendants, type Graph, type GraphNode } from "./graph.js";
import type { Tap } from "./manifest.js";

interface Proposal {
  graph: Graph;
  /** The placeholder of the images. */
  input: string;
  /** Of the nodes for a batch of one image. */
  shapes: ReadonlyMap<string, readonly number[]>;
}

/**
 * Taps for a graph that nobody described.
 *
 * A place where features are taken should hold all that the network knows of the image there: a node that every path to
 * the network's end goes through. Of these, the last of each block is proposed, and the vector that enters the
 * classifier.
 *
 * @returns in the order of the computation; none where nothing but vectors of the classifier can be found.
 */
export function proposeTaps(proposal: Proposal): Tap[] {
  const { graph, shapes } = proposal;
  const trunk = passages(proposal, trunkEnd(proposal)).filter((name) => kindOf(shapes.get(name)) !== "vector");
  const isJunction = (name: string) => /^(Add|AddV2|AddN|BiasAddV1)$/.test(graph.nodes.get(name)!.op);
  const blocks = blockNames(trunk, isJunction);
  const ends = withoutRepeats(proposal, [...new Map(trunk.map((node, i) => [blocks[i]!, node])).entries()]);
  const features = classifierInput(proposal, ends.at(-1)?.[1] ?? proposal.input);
  const places = [...ends, ...(features === undefined ? [] : [["pooled", features] as const])];
  const names = shortNames(places.map(([block]) => block));
  return places.map(([, node], i) => tapOf(names[i]!, node, shapes.get(node)!));
}

/** Of ends with nothing learned between them, and of one shape (a sum, then its activation), only the last. */
function withoutRepeats({ graph, shapes }: Proposal, ends: [block: string, node: string][]): [string, string][] {
  const layersBehind = (node: string) =>
    [...ancestors(graph, [node])].filter((name) => weighted.test(graph.nodes.get(name)!.op)).length;
  return ends.filter(([, node], i) => {
    const next = ends[i + 1]?.[1];
    const same = next !== undefined && shapes.get(node)!.join() === shapes.get(next)!.join();
    return !(same && layersBehind(node) === layersBehind(next));
  });
}

function tapOf(name: string, node: string, shape: readonly number[]): Tap {
  const kind = kindOf(shape)!;
  const sizes = kind === "vector" ? [shape.at(-1)!] : shape.slice(1);
  return { name, node, kind, shape: sizes, pooling: kind === "vector" ? "identity" : "avg" };
}

/** What a shape with a batch axis of one holds; undefined where it holds no features. */
function kindOf(shape: readonly number[] | undefined): Tap["kind"] | undefined {
  if (!shape || shape[0] !== 1 || shape.at(-1)! < 2) return undefined;
  switch (shape.length) {
    case 2:
      return "vector";
    case 3:
      return shape[1] === 1 ? "vector" : "tokens";
    case 4:
      return shape[1]! * shape[2]! === 1 ? "vector" : "map";
    default:
      return undefined;
  }
}

const weighted = /^(_Fused|Fused)?(Conv2D|DepthwiseConv2dNative|MatMul|Conv2d)$/;

/** Nodes that hold features: computed from the image by at least one layer with weights. */
function learned({ graph, input, shapes }: Proposal): GraphNode[] {
  const image = descendants(graph, [input]);
  const layers = [...graph.nodes.values()].filter(({ name, op }) => image.has(name) && weighted.test(op));
  const after = descendants(graph, layers.map(({ name }) => name)); // prettier-ignore
  return [...graph.nodes.values()].filter(({ name }) => after.has(name) && kindOf(shapes.get(name)) !== undefined);
}

/**
 * Where the trunk ends. In a network of tokens: at its end. In a convolutional one: at its smallest map, for heads of
 * detectors and segmenters grow again from there, by paths that go around it.
 */
function trunkEnd(proposal: Proposal): string {
  const { graph, input, shapes } = proposal;
  const nodes = learned(proposal);
  const end = nodes.reduce(
    (deepest, { name }) => {
      const depth = ancestors(graph, [name]).size;
      return depth > deepest.depth ? { name, depth } : deepest;
    },
    { name: input, depth: 0 },
  ).name;
  const kinds = passages(proposal, end).map((name) => kindOf(shapes.get(name)));
  const count = (kind: Tap["kind"]) => kinds.filter((other) => other === kind).length;
  // Detectors end in a list of boxes, which has the shape of tokens.
  if (count("tokens") > count("map")) return end;
  const maps = nodes.filter(({ name }) => Math.min(...(shapes.get(name)!.length === 4 ? shapes.get(name)!.slice(1, 3) : [1])) > 1); // prettier-ignore
  const area = ({ name }: GraphNode) => shapes.get(name)![1]! * shapes.get(name)![2]!;
  const smallest = Math.min(...maps.map(area));
  return maps.filter((node) => area(node) === smallest).at(-1)?.name ?? end;
}

/** The nodes with features that every path from the image to `end` goes through, in order. */
function passages(proposal: Proposal, end: string): string[] {
  const { graph, input } = proposal;
  // Sizes of tensors go around everything and hold nothing of the image.
  const image = descendants(graph, [input], ({ op }) => /^(Shape|Size|Rank)$/.test(op));
  const behind = ancestors(graph, [end]);
  const path = [...graph.nodes.values()].filter(({ name }) => image.has(name) && behind.has(name));
  const position = new Map(path.map(({ name }, i) => [name, i]));
  // furthest[i]: the last node that reads node i. Nobody before a passage is read by anybody behind it.
  const furthest = path.map((_, i) => i);
  path.forEach(({ inputs }, i) => {
    for (const name of inputs) {
      const at = position.get(name);
      if (at !== undefined) furthest[at] = i;
    }
  });
  const features = new Set(learned(proposal).map(({ name }) => name));
  let reach = 0;
  return path.flatMap(({ name }, i) => {
    const passage = reach <= i && features.has(name);
    reach = Math.max(reach, furthest[i]!);
    return passage ? [name] : [];
  });
}

/**
 * The vector behind the trunk that a classifier or an embedding reads: what its last layer takes, or the pooled map
 * where there is no such layer. Vectors that go back into a map are gates of it, no features.
 */
function classifierInput(proposal: Proposal, trunk: string): string | undefined {
  const { graph, shapes } = proposal;
  const behind = descendants(graph, [trunk]);
  const isVector = (name: string) => kindOf(shapes.get(name)) === "vector";
  const nodes = learned(proposal).filter(({ name }) => behind.has(name) && name !== trunk);
  const maps = nodes.filter(({ name }) => !isVector(name)).map(({ name }) => name);
  const gates = ancestors(graph, maps);
  const vectors = nodes.filter(({ name }) => isVector(name) && !gates.has(name));
  const read = vectors.filter(({ op }) => weighted.test(op)).map(({ inputs }) => inputs[0]!);
  const last = read.filter((name) => isVector(name) && !gates.has(name)).at(-1);
  if (last !== undefined) return last;
  const pooled = vectors.find(({ op }) => /^(Mean|Max|AvgPool|MaxPool|Sum)$/.test(op));
  if (!pooled) return undefined;
  const reshaped = vectors.find(
    ({ op, inputs }) => /^(Squeeze|Reshape|Identity)$/.test(op) && inputs[0] === pooled.name,
  );
  return (reshaped ?? pooled).name;
}

/** The ends of the names, as long as is needed to tell them apart, in letters that need no quotes in a shell. */
function shortNames(names: string[]): string[] {
  const safe = (words: string[]) => words.join(".").replace(/[^A-Za-z0-9._-]/g, "_").replace(/^\.+/, ""); // prettier-ignore
  const split = names.map((name) => name.split("/"));
  const used = new Set<string>();
  return split.map((words) => {
    const isNumber = /^\d+$/.test(words.at(-1)!);
    let count = isNumber ? 2 : 1;
    const short = () => safe(words.slice(-count));
    const clashes = () => split.filter((other) => safe(other.slice(-count)).toLowerCase() === short().toLowerCase());
    while (count < words.length && clashes().length > 1) count++;
    let name = short();
    for (let i = 2; used.has(name.toLowerCase()); i++) name = `${short()}.${i}`;
    used.add(name.toLowerCase());
    return name;
  });
}
