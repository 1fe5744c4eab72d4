import { csvLine } from "../csv.js";
import type { Grid } from "./grid.js";
import type { LayerResult, ResultRecord } from "./record.js";
import { decimalsOf, mainValue, numberText, percent, spreadText } from "./wording.js";

/** One layer and k. */
export type LowShotResult = LayerResult & { lowShot: NonNullable<LayerResult["lowShot"]> };

/** The results of a protocol that draws small training sets; none of other protocols. */
export function lowShotResults({ results }: Pick<ResultRecord, "results">): LowShotResult[] {
  return results.filter((result): result is LowShotResult => result.lowShot !== undefined);
}

/**
 * Layer and k × what is reported: mean AP at the costs that were chosen on the drawn images, and, marked as what it is,
 * at the cost that is best on the images that are reported.
 */
export function lowShotGrid(record: ResultRecord): Grid {
  const decimals = decimalsOf(record);
  const results = lowShotResults(record);
  const highest = Math.max(...results.map((result) => mainValue(result).mean));
  const [honest, oracle] = ["chosen on the draw", "chosen on test: TOO GOOD"];
  return {
    columns: [
      { name: "layer", group: "", align: "left" },
      { name: "k", group: "", align: "right" },
      { name: "mean AP %", group: honest, align: "right" },
      { name: "cost", group: honest, align: "right" },
      { name: "mean AP %", group: oracle, align: "right" },
      { name: "min", group: oracle, align: "right" },
      { name: "max", group: oracle, align: "right" },
      { name: "cost", group: oracle, align: "right" },
    ],
    rows: results.map((result) => {
      const { k, costs, oracle: best } = result.lowShot;
      const { values } = best.meanAp;
      const value = mainValue(result);
      return [
        { text: result.layer },
        { text: String(k) },
        { text: spreadText(value, decimals), best: value.mean === highest },
        { text: rangeText(costs) },
        { text: spreadText(best.meanAp, decimals) },
        { text: percent(Math.min(...values), decimals) },
        { text: percent(Math.max(...values), decimals) },
        { text: numberText(best.cost) },
      ];
    }),
  };
}

/** For programs, as CSV: a line a layer, k, sample and cost, fractions in full. */
export function lowShotCsv(record: ResultRecord): string {
  return [
    csvLine(["layer", "k", "sample", "images", "cost", "crossval_ap", "mean_ap", "chosen"]),
    ...lowShotResults(record).flatMap(({ layer, lowShot: { k, images, costs, byCost }, trials }) =>
      costs.flatMap((chosen, s) =>
        trials.map(({ setting, selection }, i) => {
          const crossval = selection === null ? "" : selection.values[s]!;
          const cost = setting.cost as number;
          return csvLine([layer, k, s + 1, images[s]!, cost, crossval, byCost[i]!.values[s]!, Number(cost === chosen)]);
        }),
      ),
    ),
  ].join("");
}

/** `3 samples`, in the place of seeds. */
export function samplesText({ seeds, settings }: ResultRecord): string {
  return `${seeds.length} samples drawn by seed ${String(settings.splitSeed)}`;
}

function rangeText(costs: number[]): string {
  const [least, most] = [Math.min(...costs), Math.max(...costs)];
  return least === most ? numberText(least) : `${numberText(least)} to ${numberText(most)}`;
}
