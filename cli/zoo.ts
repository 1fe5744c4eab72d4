import { zooSettings } from "../lib/settings/zoo.js";
import { command, type CommandContext, type CommandReport } from "./command.js";

export const zoo = command(zooSettings, async ({ action, name, match, out }, context) =>
  action === "list" ? list(match) : get(name!, out, context),
);

async function list(match = "*"): Promise<CommandReport> {
  const { readZoo, matching } = await import("../lib/zoo/read.js");
  const { isConvertible } = await import("../lib/zoo/backbone.js");
  const { formatZoo } = await import("../lib/zoo/table.js");
  const entries = matching(await readZoo(), match);
  const json = entries.map((entry) => ({ ...entry, convertible: isConvertible(entry) }));
  return { text: formatZoo(entries), json };
}

async function get(name: string, out: string, { progress }: CommandContext): Promise<CommandReport> {
  const { zooBackbone } = await import("../lib/zoo/backbone.js");
  const { dir, manifest, prefix, unused } = await zooBackbone({ name, out, progress });
  const text = `${dir} is ready, with ${manifest.taps.length} layers: npx frozen-eval inspect ${dir}`;
  return { text, json: { dir, manifest, prefix, unused } };
}
