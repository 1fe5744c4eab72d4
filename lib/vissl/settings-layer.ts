import path from "node:path";

import { isRecord, nameOf, type SettingsLayer } from "../settings/layer.js";
import { shorter } from "../settings/yaml.js";
import { translateVisslSvm } from "./translate-svm.js";
import { translateVissl } from "./translate.js";

/** The protocol that a run by VISSL's YAML names in its record. */
const id = "vissl-yaml";

/** What flags and settings files say, and where relative names begin. */
interface Given {
  given: Record<string, unknown>;
  cwd: string;
}

/**
 * VISSL's YAML as settings of `eval-linear` that count less than all others. What the others say of data and features
 * decides what of it is of use: stored features have their transforms behind them.
 *
 * @throws UserError as {@link translateVissl}.
 */
export async function visslLayer({ given, cwd }: Given): Promise<SettingsLayer | undefined> {
  const asked = askedFor({ given, cwd });
  if (!asked) return undefined;
  const { features, views } = given;
  const extracted = typeof features === "string" && features !== "live" && features !== "stored";
  const { settings, meantFor, multiLabel, used, changesNothing, differs } = await translateVissl({
    ...asked,
    ownData: given["data"] !== undefined || extracted,
  });
  const without = extracted
    ? ["features", "views", "transform", "trainTransform"]
    : views !== undefined || features !== undefined
      ? ["features", "views"]
      : [];
  const labels = multiLabel ? "several" : "one";
  return layerOf(asked, settings, without, { meantFor, labels, used, changesNothing, differs });
}

/**
 * The same as settings of `train-svm`. Features that are there have their layers and transforms.
 *
 * @throws UserError as {@link translateVisslSvm}.
 */
export async function visslSvmLayer({ given, cwd }: Given): Promise<SettingsLayer | undefined> {
  const asked = askedFor({ given, cwd });
  if (!asked) return undefined;
  const extracted = given["features"] !== undefined;
  const ownData = given["data"] !== undefined || extracted;
  const { settings, ...told } = await translateVisslSvm({ ...asked, ownData });
  return layerOf(asked, settings, extracted ? ["layers", "transform"] : [], told);
}

interface Asked {
  file: string;
  overrides: string[];
  cwd: string;
}

function askedFor({ given, cwd }: Given): Asked | undefined {
  const { vissl: file, overrides = [] } = given;
  // The schema complains of what is of another kind.
  if (typeof file !== "string" || file === "" || !isTexts(overrides)) return undefined;
  // What --print-config has printed holds the translation already.
  if (isRecord(given["protocol"]) && given["protocol"]["id"] === id) return undefined;
  return { file, overrides, cwd };
}

function layerOf(
  { file, cwd }: Asked,
  settings: Record<string, unknown>,
  without: string[],
  told: Record<string, unknown>,
): SettingsLayer {
  const kept = Object.entries(settings).filter(([key]) => !without.includes(key));
  const shown = shorter(path.resolve(cwd, file), cwd);
  return {
    values: { ...Object.fromEntries(kept), protocol: { id, version: 1, ...told } },
    place: () => shown,
    subject: (keys) => `${nameOf(keys)} (translated from ${shown})`,
  };
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}
