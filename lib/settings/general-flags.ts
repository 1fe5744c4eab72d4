import type { SettingsDefinition } from "./definition.js";

/** Flags that every command has; they are about the call, so that they are not settings of a YAML file. */
export const generalFlags: { flag: string; alias?: string; placeholder?: string; meaning: string }[] = [
  { flag: "--config", placeholder: "FILE", meaning: "YAML file of settings, or the name of a published protocol" },
  { flag: "--set", placeholder: "KEY=VALUE", meaning: "One setting by its key in YAML; may be given several times" },
  { flag: "--print-config", meaning: "Print all settings as YAML, as they would be used, and stop" },
  { flag: "--json", meaning: "Print the result as JSON" },
  { flag: "--quiet", alias: "-q", meaning: "Print nothing but the result" },
  { flag: "--help", alias: "-h", meaning: "Print this help" },
  { flag: "--version", meaning: "Print the version" },
];

/** How the command is called, e.g. `npx frozen-eval doctor`. */
export function programOf(definition: SettingsDefinition): string {
  return definition.ownProgram ? `npx ${definition.command}` : `npx frozen-eval ${definition.command}`;
}
