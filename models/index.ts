import type { Checkpoint } from "../lib/checkpoints/checkpoint.js";
import { nearest, UserError } from "../lib/errors.js";
import type { Architecture, ArchitectureFamily } from "../lib/convert/architecture.js";
import type { NetworkLabel } from "../lib/convert/network-label.js";
import { publishedChoice } from "../lib/convert/wrappers.js";
import { bigVisionVit } from "./big-vision-vit.js";
import { cifarResnet } from "./cifar-resnet.js";
import { clipResnet } from "./clip-resnet.js";
import { clipVit } from "./clip-vit.js";
import { convnext } from "./convnext.js";
import { efficientnet } from "./efficientnet.js";
import { efficientnetLite } from "./efficientnet-lite.js";
import { hfClipVit, hfVit } from "./hf-vit.js";
import { mobilenetV2 } from "./mobilenet-v2.js";
import { mobilenetV3 } from "./mobilenet-v3.js";
import { regnets } from "./regnet.js";
import { resnet } from "./resnet.js";
import { samVit } from "./sam-vit.js";
import { simclrResnet } from "./simclr-resnet.js";
import { swin } from "./swin.js";
import { vgg } from "./vgg.js";
import { vit } from "./vit.js";

/** Every architecture that can be converted. A new one is a file beside this, and an entry here. */
export const families: ArchitectureFamily[] = [
  resnet,
  cifarResnet,
  clipResnet,
  simclrResnet,
  ...regnets,
  vgg,
  convnext,
  swin,
  mobilenetV2,
  mobilenetV3,
  efficientnet,
  efficientnetLite,
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
  /** Where the checkpoint holds several networks: the prefixes of the others, and why it is this one. */
  choice?: { others: string[]; reason: string };
}

export interface RecogniseOptions {
  checkpoint: Pick<Checkpoint, "file" | "tensors">;
  /** One that is known better; the shapes are still checked when the graph is built. */
  arch?: string;
  /** Where the network is, when there are several; a last point or slash may be left out. */
  prefix?: string;
  /** What is told of the checkpoint besides its tensors. */
  label?: NetworkLabel;
  /** Among which to look; all that are known where undefined. */
  among?: readonly ArchitectureFamily[];
}

/**
 * Which network a checkpoint holds, told by the names and shapes of its tensors. Of several, the one that its
 * publication evaluates.
 *
 * @throws UserError where it is none that is known, or more than one and no publication tells which.
 */
export function recogniseArchitecture(options: RecogniseOptions): RecognisedArchitecture {
  const { checkpoint } = options;
  const found = candidates(options);
  if (found.length === 0) throw nothingFound(options);
  const prefixes = [...new Set(found.map(({ prefix }) => prefix))];
  const choice = publishedChoice(prefixes);
  const left = choice ? found.filter(({ prefix }) => prefix === choice.prefix) : found;
  if (left.length > 1) {
    const seen = left.map((one) => `${one.architecture.arch} under ${one.prefix || "no prefix"}`);
    throw new UserError(`Expected one network in ${checkpoint.file} but received ${seen.join(" and ")}`, {
      hint: prefixes.length > 1 ? "Choose one with --prefix." : "Choose one with --arch.",
    });
  }
  const others = prefixes.filter((prefix) => prefix !== choice?.prefix);
  return { ...left[0]!, ...(choice && { choice: { others, reason: choice.reason } }) };
}

/** All that a family takes for one of its own. */
function candidates({ checkpoint, arch, prefix, label, among = families }: RecogniseOptions): RecognisedArchitecture[] {
  const { tensors } = checkpoint;
  const only = prefix === undefined ? undefined : wholePrefix(prefix, checkpoint);
  const found = among.flatMap((family) =>
    prefixesOf(family.marker, tensors)
      .filter((one) => only === undefined || one === only)
      .flatMap((one) => {
        const architecture = family.recognise(withoutPrefix(tensors, one), arch, label);
        const isAsked = arch === undefined || arch === architecture?.arch;
        return architecture && isAsked ? [{ architecture, prefix: one }] : [];
      }),
  );
  // A family that is told its architecture does not look; what stands inside of the network is none.
  const inside = (one: string) => found.some((other) => one !== other.prefix && one.startsWith(other.prefix));
  return arch === undefined ? found : found.filter((one) => !inside(one.prefix));
}

function nothingFound(options: RecogniseOptions): UserError {
  const { checkpoint, arch, prefix, among = families } = options;
  const archs = among.flatMap((family) => family.archs);
  const examples = [...new Set(among.map((family) => family.archs[0]))].join(", ");
  const all = `There are families of ${examples}; docs/convert.md names them all.`;
  if (arch !== undefined && !archs.includes(arch)) {
    const near = nearest(arch, archs);
    return new UserError(`Expected a known architecture but received ${JSON.stringify(arch)}`, {
      hint: near.length > 0 ? `Did you mean ${near.join(" or ")}?` : all,
    });
  }
  const others = arch === undefined ? [] : candidates({ ...options, arch: undefined });
  const names = [...checkpoint.tensors.keys()].filter((name) => name.startsWith(prefix ?? ""));
  const where = prefix === undefined ? checkpoint.file : `${checkpoint.file} under ${prefix}`;
  return new UserError(
    `Expected ${arch === undefined ? "a known architecture" : `the tensors of ${arch}`} in ${where} but received ` +
      (names.length > 0 ? `${names.length} tensors that begin with ${names.slice(0, 3).join(", ")}` : "no tensors"),
    { hint: others.length > 0 ? `They are those of ${others[0]!.architecture.arch}.` : all },
  );
}

/** The prefix with the point or slash at its end. */
function wholePrefix(prefix: string, { file, tensors }: RecogniseOptions["checkpoint"]): string {
  const names = [...tensors.keys()];
  const whole = ["", ".", "/"]
    .map((end) => prefix + end)
    .find((one) => /(^|[./])$/.test(one) && names.some((name) => name.startsWith(one)));
  if (whole !== undefined) return whole;
  throw new UserError(`Expected tensors under the prefix ${prefix} in ${file} but there are none`, {
    hint: `Its tensors begin with ${names.slice(0, 3).join(", ")}.`,
  });
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
