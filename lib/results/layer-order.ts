import type { ComparedEntry, ComparedRun, Comparison } from "./comparison.js";

/** The layers of a run in the order of its network. */
export function layersOfRun({ entries }: Pick<ComparedRun, "entries">): string[] {
  return [...new Set(entries.map(({ layer }) => layer))];
}

/**
 * One order of the layers of all runs. Where two layers stand in no common run, numbers in their names decide (block2
 * before block10), else which was named first.
 *
 * @returns undefined where the runs contradict each other.
 */
export function mergeLayers(orders: string[][]): string[] | undefined {
  const left = [...new Set(orders.flat())];
  const merged: string[] = [];
  while (left.length > 0) {
    const free = left.filter((layer) =>
      orders.every((order) => order.slice(0, Math.max(0, order.indexOf(layer))).every((one) => merged.includes(one))),
    );
    if (free.length === 0) return undefined;
    const next = free.reduce((first, other) => (numberedBefore(other, first) ? other : first));
    merged.push(next);
    left.splice(left.indexOf(next), 1);
  }
  return merged;
}

function numberedBefore(a: string, b: string): boolean {
  const withoutNumbers = (name: string) => name.replaceAll(/\d+/g, "#");
  return withoutNumbers(a) === withoutNumbers(b) && a.localeCompare(b, "en", { numeric: true }) < 0;
}

/**
 * The layers that an axis of all runs can name: of one architecture, or the same in all. undefined where only relative
 * depth is common.
 */
export function commonLayers({ runs }: Comparison): string[] | undefined {
  const orders = runs.map(layersOfRun);
  const same = orders.every((order) => order.join("\n") === orders[0]!.join("\n"));
  const oneArchitecture = runs.every(({ backbone }) => backbone?.arch === runs[0]!.backbone?.arch);
  return same ? orders[0] : oneArchitecture ? mergeLayers(orders) : undefined;
}

/**
 * One entry a layer: that of the head with the highest selection metric. Where nothing was chosen, of the head that the
 * run names first; the highest reported one would be chosen on what is told.
 */
export function entriesByDepth({ entries }: Pick<ComparedRun, "entries">): ComparedEntry[] {
  const chosen = entries.every(({ selection }) => selection !== null);
  return layersOfRun({ entries }).map((name) => {
    const ofLayer = entries.filter(({ layer }) => layer === name);
    const better = (best: ComparedEntry, each: ComparedEntry) =>
      each.selection!.mean > best.selection!.mean ? each : best;
    return chosen ? ofLayer.reduce(better) : ofLayer[0]!;
  });
}
