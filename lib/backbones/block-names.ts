/**
 * Which block of its network a node belongs to, told from the names alone: nodes of one block share a numbered
 * beginning (`MobilenetV2/expanded_conv_3/…`, `conv2_block1_…`, `encoder/layer/7/…`) that has siblings with other
 * numbers.
 *
 * @param nodes names, in the order of the computation.
 * @param isJunction whether a node adds a block's result to what entered it. A numbered beginning with several of them
 * is a stage of blocks, and is divided further where its nodes are numbered further.
 * @returns a block's name for each node, in order.
 */
export function blockNames(nodes: readonly string[], isJunction: (node: string) => boolean): string[] {
  const numbered = numberedBeginnings(nodes);
  const junctions = nodes.filter(isJunction);
  const chosen = nodes.map((node) => {
    const levels = (numbered.get(node) ?? []).filter((beginning) => beginning.length < node.length);
    const isStage = (beginning: string) => junctions.filter((other) => belongs(other, beginning)).length > 1;
    let level = 0;
    while (level + 1 < levels.length && isStage(levels[level]!) && isScope(node, levels[level + 1]!)) level++;
    return levels[level];
  });
  const blocks = new Set(chosen.filter((block) => block !== undefined));
  const holdsBlock = (scope: string) => [...blocks].some((block) => block.startsWith(`${scope}/`));
  // Without a number: the outermost scope that is not one around blocks (a stem, a neck).
  return nodes.map((node, i) => chosen[i] ?? scopesOf(node).find((scope) => !holdsBlock(scope)) ?? node);
}

/** The beginnings of each node's name that end in a number and have siblings, outermost first. */
function numberedBeginnings(nodes: readonly string[]): Map<string, string[]> {
  const scopes = new Set(nodes.flatMap(scopesOf));
  const families = new Map<string, Set<string>>();
  const beginnings = new Map(nodes.map((node) => [node, tokenEnds(node).map((end) => node.slice(0, end))]));
  for (const beginning of [...beginnings.values()].flat()) {
    const stem = stemOf(beginning);
    if (stem !== beginning) families.set(stem, (families.get(stem) ?? new Set()).add(beginning));
  }
  const inFamily = (node: string, beginning: string) => {
    const stem = stemOf(beginning);
    if (stem !== beginning) return families.get(stem)!.size > 1 || scopes.has(stem);
    // The first of a family often has no number: expanded_conv, expanded_conv_1, …
    return families.has(beginning) && node[beginning.length] === "/";
  };
  return new Map(nodes.map((node) => [node, beginnings.get(node)!.filter((beginning) => inFamily(node, beginning))]));
}

/** Where the words of a name end; a word that is a number belongs to the one before it. */
function tokenEnds(node: string): number[] {
  const words = [...node.matchAll(/[^/_.]+/g)];
  return words
    .filter(({ 0: word }, i) => {
      const next = words[i + 1]?.[0];
      return !(next !== undefined && /^\d+[a-z]?$/.test(next) && !/\d/.test(word));
    })
    .map(({ 0: word, index }) => index + word.length);
}

function stemOf(beginning: string): string {
  return beginning.replace(/[/_.]?\d+[a-z]?$/, "");
}

function scopesOf(node: string): string[] {
  return [...node.matchAll(/\//g)].map(({ index }) => node.slice(0, index));
}

function belongs(node: string, beginning: string): boolean {
  return node.startsWith(beginning) && !/^[A-Za-z0-9]/.test(node.slice(beginning.length));
}

function isScope(node: string, beginning: string): boolean {
  return node.indexOf("/", beginning.length) !== -1;
}
