import type { NetworkLabel } from "../lib/convert/network-label.js";

/**
 * Whether a network under timm's names is timm's own, or a port of TensorFlow's weights (`tf_…`), with that program's
 * padding and epsilon. Their tensors look the same.
 *
 * @param options.own timm's name of its own network.
 * @param options.asked the name that the user gives.
 * @param options.likely which of both it is where neither name nor label tells.
 */
export function tensorflowPort(options: {
  own: string;
  asked?: string;
  label?: NetworkLabel;
  likely: "own" | "port";
}): {
  isPort: boolean;
  assumptions: string[];
} {
  const { own, asked, label, likely } = options;
  if (asked !== undefined) return { isPort: asked.startsWith("tf_"), assumptions: [] };
  const named = (label?.names ?? []).flatMap((name) => nameOf(own).exec(name)?.[1] ?? []);
  if (named.length > 0) return { isPort: named.includes("tf_"), assumptions: [] };
  const isPort = likely === "port";
  const [taken, other, differing] = isPort
    ? [`timm's port of TensorFlow's weights, tf_${own}`, `timm's own ${own}`, own]
    : [`timm's own ${own}`, "timm's port of TensorFlow's weights", `tf_${own}`];
  return {
    isPort,
    assumptions: [
      `It was taken for ${taken}. Its tensors would look the same if it were ${other}, whose padding and batch norm ` +
        `differ: then give --arch ${differing}.`,
    ],
  };
}

/** The family's name with or without `tf_`, among other words. */
function nameOf(own: string): RegExp {
  return new RegExp(`(?<![a-z0-9])(tf_|)${own.split("_")[0]}(?![a-z0-9])`, "i");
}
