import type { NetworkLabel } from "../lib/convert/network-label.js";

type ClipActivation = NonNullable<NetworkLabel["activation"]>;

/** What may stand behind a name to tell the activation. */
export const activationEndings = ["_quickgelu", "_gelu"] as const;

/**
 * The activation of a visual tower of CLIP, which is in no tensor: OpenAI's networks and some of OpenCLIP's have the
 * quick GELU, the others the exact one.
 *
 * @param options.arch the network's name, without the activation.
 * @param options.asked the name that the user gives.
 * @param options.likely which it is where neither name nor label tells.
 */
export function clipActivation(options: {
  arch: string;
  asked?: string;
  label?: NetworkLabel;
  likely: ClipActivation;
}): { activation: ClipActivation; assumptions: string[] } {
  const { arch, asked, label, likely } = options;
  const known = told(asked) ?? label?.activation ?? label?.names.map(told).find((one) => one !== undefined);
  if (known !== undefined) return { activation: known, assumptions: [] };
  const [taken, other] = likely === "gelu" ? ["exact", "quick"] : ["quick", "exact"];
  const ending = likely === "gelu" ? "_quickgelu" : "_gelu";
  return {
    activation: likely,
    assumptions: [
      `Its activation was taken for the ${taken} GELU; no tensor tells. If it was trained with the ${other} one, give ` +
        `--arch ${arch}${ending}. (OpenAI's networks have the quick one, most of OpenCLIP's the exact one.)`,
    ],
  };
}

/** OpenCLIP's files say it where it is the quick one. */
function told(name: string | undefined): ClipActivation | undefined {
  if (name === undefined) return undefined;
  return /quick_?gelu/i.test(name) ? "quick_gelu" : name.endsWith("_gelu") ? "gelu" : undefined;
}
