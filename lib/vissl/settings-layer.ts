import path from "node:path";

import { isRecord, nameOf, type SettingsLayer } from "../settings/layer.js";
import { shorter } from "../settings/yaml.js";
import { translateVissl } from "./translate.js";

/** The protocol that a run by VISSL's YAML names in its record. */
const id = "vissl-yaml";

/**
 * VISSL's YAML as settings that count less than all others. What the others say of data and features decides what of
 * it is of use: stored features have their transforms behind them.
 *
 * @param options.given what flags and settings files say.
 * @throws UserError as {@link translateVissl}.
 */
export async function visslLayer(options: {
  given: Record<string, unknown>;
  cwd: string;
}): Promise<SettingsLayer | undefined> {
  const { given, cwd } = options;
  const { vissl: file, overrides = [], features, views } = given;
  // The schema complains of what is of another kind.
  if (typeof file !== "string" || file === "" || !isTexts(overrides)) return undefined;
  // What --print-config has printed holds the translation already.
  if (isRecord(given["protocol"]) && given["protocol"]["id"] === id) return undefined;
  const extracted = typeof features === "string" && features !== "live" && features !== "stored";
  const translation = await translateVissl({ file, overrides, cwd, ownData: given["data"] !== undefined || extracted });
  const { settings, meantFor, multiLabel, used, changesNothing, differs } = translation;
  const without = extracted
    ? ["features", "views", "transform", "trainTransform"]
    : views !== undefined || features !== undefined
      ? ["features", "views"]
      : [];
  const labels = multiLabel ? "several" : "one";
  const protocol = { id, version: 1, meantFor, labels, used, changesNothing, differs };
  const kept = Object.entries(settings).filter(([key]) => !without.includes(key));
  const shown = shorter(path.resolve(cwd, file), cwd);
  return {
    values: { ...Object.fromEntries(kept), protocol },
    place: () => shown,
    subject: (keys) => `${nameOf(keys)} (translated from ${shown})`,
  };
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}
