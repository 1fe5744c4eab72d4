import { csvLine } from "../csv.js";
import type { Grid } from "./grid.js";
import type { ClassResult, LayerResult, ResultRecord } from "./record.js";
import { decimalsOf, numberText, percent } from "./wording.js";

/** Whether a protocol solved each class by itself. */
export function hasClasses({ results }: Pick<ResultRecord, "results">): boolean {
  return results.some(({ classes }) => classes !== undefined);
}

/** Classes × layers: average precision in percent and the cost that was chosen; the highest of each class is marked. */
export function classGrid(record: ResultRecord): Grid {
  const { results } = record;
  const decimals = decimalsOf(record);
  return {
    columns: [
      { name: "class", group: "", align: "left" },
      ...results.flatMap(({ layer }): Grid["columns"] => [
        { name: "AP %", group: layer, align: "right" },
        { name: "cost", group: layer, align: "right" },
      ]),
    ],
    rows: classesOf(results[0]!).map(({ name }, c) => {
      const own = results.map((result) => classesOf(result)[c]!);
      const best = Math.max(...own.map(({ ap }) => ap));
      const first = own.findIndex(({ ap }) => ap === best);
      return [
        { text: name },
        ...own.flatMap(({ ap, cost }, i) => [
          { text: percent(ap, decimals), best: results.length > 1 && i === first },
          { text: numberText(cost) },
        ]),
      ];
    }),
  };
}

/** The same for programs, as CSV: a line a layer and class, fractions in full. */
export function classCsv({ results }: ResultRecord): string {
  const columns = ["layer", "class", "train_positives", "test_positives", "cost", "crossval_ap", "ap", "ap_11_point"];
  return [
    csvLine(columns),
    ...results.flatMap((result) =>
      classesOf(result).map(({ name, positives: { train, test }, cost, crossval, ap, ap11 }) =>
        csvLine([result.layer, name, train, test, cost, Math.max(...crossval), ap, ap11]),
      ),
    ),
  ].join("");
}

function classesOf({ classes = [] }: LayerResult): ClassResult[] {
  return classes;
}
