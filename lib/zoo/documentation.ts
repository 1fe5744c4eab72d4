import { bytes as sizeOf } from "../progress.js";
import { isConvertible } from "./backbone.js";
import type { ZooEntry } from "./entry.js";
import { readZoo } from "./read.js";
import { scoreText } from "./table.js";

/** `docs/zoo.md`: the list of published checkpoints for people, made from `models/zoo/`. */
export async function zooDocumentation(): Promise<string> {
  const entries = await readZoo();
  const publishers = [...new Set(entries.map(({ publisher }) => publisher))];
  const parts = [
    "# The zoo",
    "<!-- Made by `npm run docs` from models/zoo/*.yaml; edit those. -->",
    `${entries.length} published checkpoints. A command fetches one and converts it:`,
    "```sh\nnpx frozen-eval zoo list --match *resnet50\nnpx frozen-eval zoo get mocov2-800ep_resnet50\n```",
    "The file goes to the cache folder, and the backbone to `models/<title>/<arch>`. What was cut goes on where it " +
      "stopped. Digests are compared where they are published, as far as they are. The sha256 of what arrived stands in " +
      "`backbone.json`.",
    "Accuracies are the publishers' own, on ImageNet-1k's validation images: top-1 of a linear classifier on the frozen " +
      "backbone, of nearest neighbours, zero-shot, or of the network's own classifier (top-1). Each links to where it was read. " +
      "Licences are those of the publishers' repositories, or of the weights where these are told; read them before you use the " +
      "weights. Names in brackets work too; among them are those of ImageNet-CoG.",
    "*No* under *converts* means that this version does not know the architecture; *by hand* that the file lies where a " +
      "browser is needed, or has to be unpacked first.",
    ...publishers.flatMap((publisher) => [
      `## ${publisher}`,
      table(entries.filter((entry) => entry.publisher === publisher)),
    ]),
  ];
  return `${parts.join("\n\n")}\n`;
}

function table(entries: ZooEntry[]): string {
  const line = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const head = ["Name", "Size", "Licence", "ImageNet-1k %", "Digest", "Preprocessing", "Converts"];
  return [line(head), line(head.map(() => "---")), ...entries.map((entry) => line(cellsOf(entry)))].join("\n");
}

function cellsOf(entry: ZooEntry): string[] {
  const { name, names, origin, bytes, licence, scores, source, digest, transform } = entry;
  const address =
    origin.kind === "url"
      ? origin.url
      : origin.kind === "page"
        ? origin.page
        : `https://pypi.org/project/${origin.package.slice("pypi:".length).split("==")[0]}/`;
  const score = scoreText(scores);
  return [
    `[${name}](${address})${names.length > 0 ? ` (${names.join(", ")})` : ""}`,
    bytes === undefined ? "" : sizeOf(bytes),
    licence ?? "not told",
    score === "" ? "" : `[${score}](${source})`,
    digest === undefined ? "" : `\`${digest.replace(/^(\w+:\w{8})\w+$/, "$1…")}\``,
    transform === undefined ? "" : `\`${transform}\``,
    !isConvertible(entry) ? "no" : origin.kind === "page" ? "by hand" : "yes",
  ];
}
