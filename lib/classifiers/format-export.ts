import { bytes } from "../progress.js";
import { headTitle, metricTitle } from "../results/wording.js";
import type { ExportedClassifier } from "./export-classifier.js";

/** What was exported, for a person. */
export function formatExport({ dir, manifest, bytes: size }: ExportedClassifier): string {
  const { input, layer, head, classes, accuracy, backbone } = manifest;
  const images = input.kind === "images";
  const what = images && backbone ? `${backbone.title}/${backbone.arch} up to ${layer}` : `${layer}, the head alone`;
  const lines = [
    ["classifier", `${what}, ${headTitle(head)}, ${bytes(size)} of weights`],
    ["accuracy", `${(100 * accuracy.value).toFixed(1)} % ${metricTitle(accuracy.metric)} on ${accuracy.split} (${accuracy.images} images, seed ${accuracy.seed})`], // prettier-ignore
    ["input", images ? `images through ${input.transform}` : `features [batch, ${input.width}]`],
    ["output", `logits and probabilities of ${classes.length} classes`],
    ["written", `${dir}: model.json, its weights and classifier.json`],
  ];
  return lines.map(([name, text]) => `${name!.padEnd(12)}${text}`).join("\n");
}
