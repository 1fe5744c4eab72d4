import { z } from "zod";

import { show, UserError } from "../errors.js";
import type { VisslKeys } from "./keys.js";

/** @throws UserError where the trunk is trained. */
export function checkFrozen(keys: VisslKeys): void {
  for (const name of ["EVAL_MODE_ON", "FREEZE_TRUNK_ONLY"]) {
    const key = `MODEL.FEATURE_EVAL_SETTINGS.${name}`;
    if (!keys.get(key, z.boolean(), "True or False")) {
      throw keys.refusal(key, "True", "Only a frozen trunk is evaluated here; this configuration trains it.");
    }
  }
}

/** @throws UserError for programs of VISSL's that are something else. */
export function checkOutside(keys: VisslKeys): void {
  for (const [key, value] of keys.outside()) {
    if (key === "engine_name" && value !== "train") {
      throw new UserError(`Expected the engine train for engine_name but received ${show(value)}`, {
        hint: "Features are extracted by npx frozen-eval extract-features.",
      });
    }
    if (!["engine_name", "node_id", "hydra", "VERSION", "defaults"].includes(key)) {
      throw new UserError(`Expected settings below the group config but received ${show(key)} beside it`);
    }
  }
}

/** What is known of keys that are not read. */
export interface OtherKeys {
  /** Keys that hold as one value alone, and what to do about another. */
  fixed: Record<string, { value: unknown; hint: string }>;
  /** Why a key changes nothing; undefined where nothing is known of it. */
  whyInert: (key: string) => string | undefined;
}

/**
 * Why each key that was not read changes nothing.
 *
 * @throws UserError where something is left over, which is refused, all of it at once.
 */
export function accountOf(keys: VisslKeys, { fixed: known, whyInert }: OtherKeys): Record<string, string> {
  const reasons: Record<string, string> = {};
  const refused: { sentence: string; hint: string }[] = [];
  for (const key of keys.unread()) {
    const fixed = Object.hasOwn(known, key) ? known[key] : undefined;
    const reason = fixed ? undefined : whyInert(key);
    if (fixed && JSON.stringify(keys.given(key)) !== JSON.stringify(fixed.value)) {
      refused.push({ sentence: keys.refusal(key, show(fixed.value)).message, hint: fixed.hint });
    } else if (!fixed && reason === undefined) {
      const sentence = keys.refusal(key, "a key that is known here").message;
      refused.push({ sentence, hint: "Nothing is known of what it does: leave it out by a copy of the file." });
    } else {
      reasons[`config.${key}`] = reason ?? "so it is here";
    }
  }
  if (refused.length > 0) {
    const message = refused.map(({ sentence }) => sentence).join("; ");
    throw new UserError(message, { hint: [...new Set(refused.map(({ hint }) => hint))].join(" ") });
  }
  return reasons;
}
