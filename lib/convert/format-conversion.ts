import type { ConvertedBackbone } from "./convert.js";
import { formatVerification } from "./verify.js";

/** A conversion as a person reads it in a terminal: what was recognised, taps, what was left out, and the proof. */
export function formatConversion(converted: ConvertedBackbone): string {
  const { dir, manifest, prefix, wrappers, choice, unused, warnings } = converted;
  const { title, arch, input, transform, precision, taps, proof = {} } = manifest;
  const told = wrappers.map(({ name, meaning }) => (meaning === undefined ? name : `${name} (${meaning})`)).join(", ");
  return [
    `${title}_${arch}: ${dir}`,
    `network    ${arch}, ${prefix === "" ? "without a prefix" : `under ${prefix}`}`,
    ...(wrappers.length > 0 ? [`wrappers   taken off: ${told}`] : []),
    ...(choice ? [`chosen     over ${choice.others.join(" and ")}: ${choice.reason}; --prefix takes another`] : []),
    `input      ${input.height}x${input.width}x3`,
    `transform  ${transform}`,
    `weights    ${((manifest.parameters ?? 0) / 1e6).toFixed(2)} M, ${precision}`,
    "",
    ...table([
      ["tap", "kind", "shape", "pooling", ...(proof.cosine ? [`cosine, ${precision} to float32`] : [])],
      ...taps.map(({ name, kind, shape, pooling }) => [
        name,
        kind,
        shape.join("x"),
        pooling,
        ...(proof.cosine ? [proof.cosine[name]!.toFixed(6)] : []),
      ]),
    ]),
    "",
    ...leftOut(unused),
    ...(proof.folding
      ? [
          `proof      ${proof.folding.layers} layers agree with the checkpoint's own tensors, batch norms unfolded, to ` +
            `${proof.folding.error === 0 ? "the bit" : proof.folding.error.toExponential(1)} on a random image`,
        ]
      : []),
    ...(proof.predict
      ? [
          `proof      ${proof.predict.layers} layers give what TensorFlow.js's own give, to ` +
            `${proof.predict.error.toExponential(1)} on a random image`,
        ]
      : []),
    ...(proof.verify
      ? [`verified   to ${proof.verify.tolerance} of each tap's largest number:`, ...formatVerification(proof.verify)]
      : []),
    ...warnings.map((warning) => `Note: ${warning}`),
  ].join("\n");
}

/** A line a reason, with the first names. */
function leftOut(unused: ConvertedBackbone["unused"]): string[] {
  if (unused.length === 0) return ["left out   nothing"];
  const byReason = new Map<string, string[]>();
  for (const { name, reason } of unused) byReason.set(reason, [...(byReason.get(reason) ?? []), name]);
  const lines = [...byReason].map(([reason, names]) => {
    const shown = names.slice(0, 3).join(", ");
    return `  ${reason}: ${names.length > 3 ? `${names.length} tensors, ${shown}, …` : shown}`;
  });
  return [`left out   ${unused.length} tensors`, ...lines];
}

function table(rows: string[][]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd()); // prettier-ignore
}
