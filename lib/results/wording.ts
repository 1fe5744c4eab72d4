import { sha256 } from "../files.js";
import type { LayerResult, ResultRecord, Setting, Spread } from "./record.js";

/** How tables and figures speak of what stands in a record. */

/** `efficientnet-lite0 on emoji`. */
export function titleOf({ backbone, data }: ResultRecord): string {
  if (backbone === null) return `Features of ${data.name}`;
  const { title, arch } = backbone;
  return `${title === arch ? arch : `${arch} (${title})`} on ${data.name}`;
}

const headTitles: Record<string, string> = {
  fc: "FC",
  bn_fc: "BN→FC",
  svm: "SVM",
  logreg: "logistic regression",
  logreg_lbfgs: "logistic regression, L-BFGS",
};

export function headTitle(head: string): string {
  const [, kind, letter, count] = /^(svm|logreg|logreg_lbfgs)_([kn])(\d+)$/.exec(head) ?? [];
  const title = headTitles[kind ?? head] ?? head;
  return kind === undefined ? title : `${title}, ${letter === "n" ? "N" : "k"} = ${count}`;
}

const metricTitles: Record<string, string> = {
  top1: "top-1",
  top5: "top-5",
  stepAp: "step-sum AP",
  meanAp: "mean AP",
  meanAp11: "11-point mean AP",
};

export function metricTitle(metric: string): string {
  return metricTitles[metric] ?? metric;
}

/** Layers in the order of the network. */
export function layersOf(record: ResultRecord): string[] {
  return [...new Set(record.results.map(({ layer }) => layer))];
}

/** Heads in the order in which the record names them first. */
export function headsOf(record: ResultRecord): string[] {
  return [...new Set(record.results.map(({ head }) => head))];
}

/** The name of what is told first: top-1, or mean AP of data with several labels an image. */
export function mainMetric({ results }: Pick<ResultRecord, "results">): "top1" | "meanAp" {
  return results.some(({ metrics }) => metrics.top1 !== undefined) ? "top1" : "meanAp";
}

export function mainValue({ metrics }: Pick<LayerResult, "metrics">): Spread {
  return (metrics.top1 ?? metrics.meanAp)!;
}

/** The entry of the highest main metric, the earliest of equals; of methods that validation has compared, of the better one. */
export function bestOf(record: ResultRecord): LayerResult {
  const candidates = record.results.filter(({ logreg }) => logreg?.better !== false);
  return candidates.reduce((best, each) => (mainValue(each).mean > mainValue(best).mean ? each : best));
}

const shortNames: Record<string, string> = { weightDecay: "wd", learningRate: "lr", momentum: "m" };

/** `lr 0.1, wd 1e-4`. */
export function settingText(setting: Setting): string {
  return Object.entries(setting)
    .map(([name, value]) => `${shortNames[name] ?? name} ${typeof value === "number" ? numberText(value) : value}`)
    .join(", ");
}

/** As people write settings: 0.1, 0.003, 1e-4, 256; at most four digits. */
export function numberText(value: number): string {
  const rounded = Number(value.toPrecision(4));
  const size = Math.abs(rounded);
  return size !== 0 && (size < 1e-3 || size >= 1e5) ? rounded.toExponential().replace("e+", "e") : rounded.toString();
}

/** Of a record, or of several that report the same. */
interface Reported {
  data: Pick<ResultRecord["data"], "splits">;
  selection: ResultRecord["selection"];
}

/** Decimals of a percentage: as many as one image more or less can move, one or two. */
export function decimalsOf({ data, selection }: Reported): number {
  return (data.splits[selection.reportedOn] ?? 0) >= 10_000 ? 2 : 1;
}

export function percent(share: number, decimals: number): string {
  return (100 * share).toFixed(decimals);
}

/** `71.3 ± 0.4`; without the spread where there is one seed. */
export function spreadText({ mean, std, values }: Spread, decimals: number): string {
  const middle = percent(mean, decimals);
  return values.length > 1 ? `${middle} ± ${percent(std, decimals)}` : middle;
}

/**
 * What needs no features: to name the most frequent class, or any class where frequencies are not known. Of images with
 * several labels there is none.
 */
export function baselineOf({ data, results }: ResultRecord): { name: string; share: number } | undefined {
  if (mainMetric({ results }) === "meanAp") return undefined;
  return data.majorityRate === undefined
    ? { name: "chance", share: 1 / data.classes.count }
    : { name: "largest class", share: data.majorityRate };
}

/** `900 train, 200 val, 200 test images`. */
export function splitsText({ data }: Pick<Reported, "data">): string {
  const { train, val, test } = data.splits;
  return `${Object.entries({ train, val, test })
    .filter(([, images]) => images !== undefined)
    .map(([name, images]) => `${images!.toLocaleString("en-US")} ${name}`)
    .join(", ")} images`;
}

export function seedsText({ seeds }: Pick<ResultRecord, "seeds">): string {
  if (seeds.length > 8) return `${seeds.length} seeds`;
  return seeds.length > 1 ? `seeds ${seeds.join(", ")}` : `seed ${seeds[0]}`;
}

/** On which images the setting was chosen and on which the numbers are; a warning where they are the same. */
export function selectionText({ selection }: Pick<ResultRecord, "selection">): string {
  const { on, metric, reportedOn, selectedOnReported } = selection;
  const how = on === null ? "one setting, none chosen" : `chosen on ${on} by ${metricTitle(metric)}`;
  const text = `${how}, reported on ${reportedOn}`;
  return selectedOnReported ? `${text} (the same images: TOO GOOD)` : text;
}

/** The name of the files of a layer's head, e.g. `res4~avg_pool(8x8,3,0).fc`. */
export function fileNameOf({ layer, head }: { layer: string; head: string }): string {
  return `${layerFileName(layer)}.${head}`;
}

/** The name of a layer's files: safe in every file system and in URLs, and different for different layers. */
export function layerFileName(layer: string): string {
  const name = layer.replaceAll(":", "~").replaceAll("/", "+");
  const safe = name.replaceAll(/[^\w.,()=~+-]/g, "-");
  const ambiguous = safe !== name || /[~+]/.test(layer) || safe.length > 150;
  return ambiguous ? `${safe.slice(0, 150)}-${sha256(layer).slice(0, 8)}` : safe;
}

export function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
