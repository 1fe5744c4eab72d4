import { modelName } from "../lib/features/model-name.js";
import { exists } from "../lib/files.js";
import { parseLaunch } from "../lib/launch/place.js";
import { duration } from "../lib/progress.js";
import type { GridModel, GridOptions, GridPlan } from "../lib/protocols/cog/grid.js";
import type { LevelResult } from "../lib/results/levels.js";
import { cogSettings, type CogSettings, levelsOf } from "../lib/settings/cog.js";
import { searchedOf } from "../lib/settings/logreg.js";
import { prepare } from "./backend.js";
import { command, type CommandReport } from "./command.js";

export const cog = command(cogSettings, async ({ launch, slurm, ...settings }, context) => {
  const models: GridModel[] = [];
  for (const name of settings.models) models.push(await modelOf(name, settings));
  const protocol = { ...settings, ...searchedOf(settings), shots: undefined };
  const options = { ...settings, ...context, models, levels: levelsOf(settings), protocol };
  if (launch !== undefined) {
    const { launchGrid } = await import("../lib/protocols/cog/launched-grid.js");
    return reportOf(await launchGrid({ ...options, slurm, place: parseLaunch(launch) }), options);
  }
  const { planGrid, runGrid } = await import("../lib/protocols/cog/grid.js");
  await prepare(settings, context);
  const plan = await planGrid(options);
  if (settings.dryRun) {
    return { text: formatPlan(plan), json: { ...plan, runs: plan.runs.length, missing: plan.missing.length } };
  }
  for (const line of formatPlan(plan).split("\n")) context.progress.note(line);
  return reportOf(await runGrid(options), options);
});

async function reportOf(results: LevelResult[], { shots, out }: GridOptions): Promise<CommandReport> {
  const { formatLevels } = await import("../lib/results/levels.js");
  const figures = new Set(shots).size > 1 ? "levels.svg, shots.svg" : "levels.svg";
  return {
    text: `\n${formatLevels(results, { kind: "text" })}\nIn ${out}: levels.csv, levels.md, ${figures}\n`,
    json: results,
  };
}

/** A model whose features are there under its own name, or under the folders that the zoo gives it. */
async function modelOf(name: string, { featuresRoot }: Pick<CogSettings, "featuresRoot">): Promise<GridModel> {
  const { featuresFolder } = await import("../lib/features/model-name.js");
  const own = modelName(name);
  if (await exists(featuresFolder({ root: featuresRoot, ...own, dataset: "" }))) return { name, ...own };
  const { findEntry, readZoo } = await import("../lib/zoo/read.js");
  const { title, arch } = findEntry(await readZoo(), name);
  return { name, title, arch };
}

function formatPlan({ runs, missing, seeds, seconds }: GridPlan): string {
  return [
    `runs  ${runs.length} of ${seeds} seeds, ${runs.length * seeds} searches with their trainings; ${runs.length - missing.length} runs are finished`,
    `time  about ${duration(seconds)} here, one after another`,
  ].join("\n");
}
