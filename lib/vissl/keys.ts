import type { z } from "zod";

import { expected, type UserError } from "../errors.js";
import { isRecord, type MergedSettings } from "../settings/layer.js";
import { visslDefaults } from "./defaults.js";

/** The keys of a configuration below `config`, written with dots, and a note of which were read. */
export class VisslKeys {
  private readonly read = new Set<string>();

  constructor(private readonly merged: MergedSettings) {}

  /**
   * The value of a key, VISSL's default where the configuration does not have it.
   *
   * @throws UserError naming key, file and line where the value is not what `schema` asks.
   */
  get<T>(key: string, schema: z.ZodType<T>, what: string): T {
    this.read.add(key);
    const value = this.given(key) ?? visslDefaults[key];
    const result = schema.safeParse(value);
    if (!result.success) throw this.refusal(key, what);
    return result.data;
  }

  /** Why a key cannot be honoured; with what to do where that is not plain. */
  refusal(key: string, what: string, hint?: string): UserError {
    return expected(what, this.subject(key), this.given(key) ?? visslDefaults[key], hint);
  }

  /** The key with its place: `config.A.B (file.yaml:3)`, or that it is VISSL's default. */
  subject(key: string): string {
    const path = ["config", ...key.split(".")];
    if (this.given(key) === undefined) return `${path.join(".")} (VISSL's default)`;
    return this.merged.origin(path)?.subject(path) ?? path.join(".");
  }

  given(key: string): unknown {
    return key.split(".").reduce<unknown>((value, part) => (isRecord(value) ? value[part] : undefined), this.all());
  }

  /** Keys that the configuration gives and that were read. */
  used(): string[] {
    return this.leaves().filter((key) => this.read.has(key));
  }

  /** Keys that the configuration gives and that were not read. */
  unread(): string[] {
    return this.leaves().filter((key) => !this.read.has(key));
  }

  /** Those that stand beside the group `config`: the keys of Hydra and of VISSL's programs. */
  outside(): [key: string, value: unknown][] {
    return Object.entries(this.merged.values).filter(([key]) => key !== "config");
  }

  private all(): unknown {
    return this.merged.values["config"];
  }

  private leaves(): string[] {
    return leavesOf(this.all(), "");
  }
}

/** A list is one value: VISSL replaces lists as a whole. */
function leavesOf(value: unknown, above: string): string[] {
  if (!isRecord(value) || (Object.keys(value).length === 0 && above !== "")) return [above];
  return Object.entries(value).flatMap(([key, inner]) => leavesOf(inner, above === "" ? key : `${above}.${key}`));
}
