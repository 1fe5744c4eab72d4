import type { Checkpoint } from "../lib/checkpoints/checkpoint.js";
import { didYouMean, UserError } from "../lib/errors.js";
import type { Architecture, ArchitectureFamily } from "../lib/convert/architecture.js";
import { convnext } from "./convnext.js";
import { efficientnet } from "./efficientnet.js";
import { efficientnetLite } from "./efficientnet-lite.js";
import { mobilenetV2 } from "./mobilenet-v2.js";
import { mobilenetV3 } from "./mobilenet-v3.js";
import { swin } from "./swin.js";

/** Every architecture that can be converted. A new one is a file beside this, and an entry here. */
export const families: ArchitectureFamily[] = [
  efficientnetLite,
  efficientnet,
  mobilenetV2,
  mobilenetV3,
  convnext,
  swin,
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

/** What stands before a marker, wherever it is found; of several that a name ends with, the first counts. */
function prefixesOf(marker: ArchitectureFamily["marker"], tensors: Checkpoint["tensors"]): string[] {
  const markers = [marker].flat();
  const found = [...tensors.keys()].flatMap((name) =>
    markers
      .filter((one) => name.endsWith(one))
      .map((one) => name.slice(0, -one.length))
      .filter((prefix) => prefix === "" || /[./]$/.test(prefix))
      .slice(0, 1),
  );
  return [...new Set(found)];
}

function withoutPrefix(tensors: Checkpoint["tensors"], prefix: string): Checkpoint["tensors"] {
  return new Map(
    [...tensors]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
  );
}
