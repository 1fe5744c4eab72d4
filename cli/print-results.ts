import { printResultsSettings } from "../lib/settings/print-results.js";
import { command } from "./command.js";

export const printResults = command(printResultsSettings, async ({ folders, epochs }) => {
  const { cogResults, formatCogResults } = await import("../lib/protocols/cog/print-results.js");
  const results = [];
  for (const folder of folders) results.push(await cogResults({ folder, epochs }));
  return { text: results.map(formatCogResults).join("\n"), json: results };
});
