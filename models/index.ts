import type { Checkpoint } from "../lib/checkpoints/checkpoint.js";
import { didYouMean, UserError } from "../lib/errors.js";
import type { Architecture, ArchitectureFamily } from "../lib/convert/architecture.js";
import { bigVisionVit } from "./big-vision-vit.js";
import { cifarResnet } from "./cifar-resnet.js";
import { clipResnet } from "./clip-resnet.js";
import { clipVit } from "./clip-vit.js";
import { efficientnetLite } from "./efficientnet-lite.js";
import { hfClipVit, hfVit } from "./hf-vit.js";
import { regnets } from "./regnet.js";
import { resnet } from "./resnet.js";
import { samVit } from "./sam-vit.js";
import { simclrResnet } from "./simclr-resnet.js";
import { vgg } from "./vgg.js";
import { vit } from "./vit.js";

/** Every architecture that can be converted. A new one is a file beside this, and an entry here. */
export const families: ArchitectureFamily[] = [
  efficientnetLite,
  resnet,
  cifarResnet,
  clipResnet,
  simclrResnet,
  ...regnets,
  vgg,
  vit,
  clipVit,
  samVit,
  bigVisionVit,
  hfVit,
  hfClipVit,
];

export interface RecognisedArchitecture {
  architecture: Architecture;
  /** What stands before the names of the network's tensors: wrappers such as `state_dict/module.`. */
  prefix: string;
}

/**
 * Which network a checkpoint holds, told by the names and shapes of its tensors.
 *
 * @param options.arch one that is known better; the shapes are still checked when the graph is built.
 * @throws UserError where it is none that is known, or more than one.
 */
export function recogniseArchitecture(options: {
  checkpoint: Pick<Checkpoint, "file" | "tensors">;
  arch?: string;
}): RecognisedArchitecture {
  const { checkpoint, arch } = options;
  const { file, tensors } = checkpoint;
  const archs = families.flatMap((family) => family.archs);
  if (arch !== undefined && !archs.includes(arch)) {
    throw new UserError(`Expected a known architecture but received ${JSON.stringify(arch)}`, {
      hint: didYouMean(arch, archs),
    });
  }
  const found = families
    .filter((family) => arch === undefined || family.archs.includes(arch))
    .flatMap((family) =>
      prefixesOf(family.marker, tensors).flatMap((prefix) => {
        const architecture = family.recognise(withoutPrefix(tensors, prefix), arch);
        return architecture ? [{ architecture, prefix }] : [];
      }),
    );
  if (found.length > 1) {
    const seen = found.map(({ architecture, prefix }) => `${architecture.arch} under ${prefix || "no prefix"}`);
    throw new UserError(`Expected one network in ${file} but received ${seen.join(" and ")}`);
  }
  if (found.length === 0) {
    const names = [...tensors.keys()];
    const begin = names.slice(0, 3).join(", ");
    throw new UserError(
      `Expected ${arch === undefined ? "a known architecture" : `the tensors of ${arch}`} in ${file} but received ` +
        (names.length > 0 ? `${names.length} tensors that begin with ${begin}` : "no tensors"),
      { hint: `Known are ${archs.join(", ")}.` },
    );
  }
  return found[0]!;
}

/** What stands before the marker, wherever it is found. */
function prefixesOf(marker: string, tensors: Checkpoint["tensors"]): string[] {
  return [...tensors.keys()]
    .filter((name) => name.endsWith(marker))
    .map((name) => name.slice(0, -marker.length))
    .filter((prefix) => prefix === "" || /[./]$/.test(prefix));
}

function withoutPrefix(tensors: Checkpoint["tensors"], prefix: string): Checkpoint["tensors"] {
  return new Map(
    [...tensors]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
  );
}
