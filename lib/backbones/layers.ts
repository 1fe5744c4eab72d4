import { didYouMean, expected, messageOf, UserError } from "../errors.js";
import type { Tap } from "./manifest.js";
import { parsePooling, type Pooling, type VisslPooling } from "./pooling.js";

/** Features that someone asked for: a tap and how it is pooled. */
export interface LayerRequest {
  /** The tap, and its pooling where that is not the tap's own: `block4`, `res4:avg_pool(8x8,3,0)`. */
  name: string;
  tap: Tap;
  pooling: Pooling;
  /** Of one image's features, channels first: [C, H, W] of a pooled map, [C] of a vector. */
  shape: number[];
  /** Numbers an image: the product of `shape`. */
  width: number;
}

/** A layer as a YAML list holds it: its text, or VISSL's `["res4", ["AvgPool2d", [[8, 8], 3, 0]]]`. */
export type LayerEntry = string | readonly [tap: string, pooling: VisslPooling];

/**
 * The layers that a command line or a configuration names.
 *
 * The text is a list of names, globs (`*` for any letters, `?` for one) and `all`, separated by commas; each may be
 * followed by a pooling: `block4,res*,res4:avg_pool(8x8,3,0)`. Or JSON: VISSL's pooling map, or one entry of it. The
 * order is kept; what is asked for twice comes once.
 *
 * @throws UserError where no tap has such a name, or a tap cannot be pooled as asked.
 */
export function parseLayers(options: { text: string | readonly LayerEntry[]; taps: readonly Tap[] }): LayerRequest[] {
  const { text, taps } = options;
  const entries = typeof text === "string" ? split(text) : text;
  if (entries.length === 0) throw expected("at least one layer", "--layers", text, `There is ${names(taps)}.`);
  const requests = entries.flatMap((entry) =>
    typeof entry === "string" ? fromText(entry, taps) : fromVissl(entry, taps),
  );
  return [
    ...new Map(requests.map((request) => [JSON.stringify([request.tap.name, request.pooling.text]), request])).values(),
  ];
}

/**
 * One tap, pooled.
 *
 * @param pooling the tap's own where undefined.
 */
export function requestLayer(tap: Tap, pooling: Pooling = parsePooling(tap.pooling)): LayerRequest {
  let shape: number[];
  try {
    shape = pooling.outputShape(tap.shape);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`Layer ${tap.name}: ${messageOf(error)}`, { hint: error.hint, cause: error });
  }
  const own = parsePooling(tap.pooling).text === pooling.text;
  const width = shape.reduce((product, size) => product * size, 1);
  return { name: own ? tap.name : `${tap.name}:${pooling.text}`, tap, pooling, shape, width };
}

/** Entries of the text; commas within parentheses belong to a pooling. */
function split(text: string): readonly LayerEntry[] {
  if (text.trim().startsWith("[")) return fromJson(text);
  return text
    .split(/,(?![^()]*\))/)
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}

function fromJson(text: string): readonly LayerEntry[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw expected('JSON such as [["res4", ["AvgPool2d", [[8, 8], 3, 0]]]]', "--layers", text);
  }
  const entries = value as unknown[];
  const single = entries.length === 2 && typeof entries[0] === "string" && Array.isArray(entries[1]);
  return (single ? [entries] : entries) as LayerEntry[];
}

function fromText(text: string, taps: readonly Tap[]): LayerRequest[] {
  // A tap's own name may hold a colon: the whole text is tried first.
  const whole = taps.find(({ name }) => name === text);
  if (whole) return [requestLayer(whole)];
  const [, pattern = text, pooling] = /^(.*?):(.*)$/s.exec(text) ?? [];
  const chosen = matching(pattern.trim(), taps);
  return chosen.map((tap) => requestLayer(tap, pooling === undefined ? undefined : poolingOf(tap, pooling)));
}

/** The pooling of a tap that knows how many of its tokens are none of the patches'. */
function poolingOf({ name, prefix_tokens: prefix }: Tap, text: string): Pooling {
  const pooling = parsePooling(text);
  if (prefix === undefined) return pooling;
  if (pooling.operation.kind === "cls" && prefix === 0) {
    throw expected(
      "a tap with a class token",
      "the pooling cls",
      name,
      "Its tokens are those of the patches: use avg.",
    );
  }
  return text.trim() === "patch_avg" ? parsePooling(`patch_avg(${prefix})`) : pooling;
}

function fromVissl(entry: unknown, taps: readonly Tap[]): LayerRequest[] {
  if (!Array.isArray(entry) || entry.length !== 2 || typeof entry[0] !== "string" || !Array.isArray(entry[1]))
    throw expected('a name or an entry such as ["res4", ["AvgPool2d", [[8, 8], 3, 0]]]', "--layers", entry);
  const [name, pooling] = entry as [string, VisslPooling];
  return matching(name, taps).map((tap) => requestLayer(tap, parsePooling(pooling)));
}

function matching(pattern: string, taps: readonly Tap[]): Tap[] {
  const found = matchNames({ pattern, names: taps.map(({ name }) => name), of: "this backbone" });
  return taps.filter(({ name }) => found.includes(name));
}

/**
 * The layers that a name, a glob or `all` means, in the order of `names`.
 *
 * @param options.of whose layers they are, for messages.
 * @throws UserError where there is none.
 */
export function matchNames(options: { pattern: string; names: readonly string[]; of: string }): string[] {
  const { pattern, names: all, of } = options;
  if (all.includes(pattern)) return [pattern];
  if (pattern === "all") return [...all];
  const letters = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*/g, ".*")
    .replace(/\?/g, ".");
  const found = /[*?]/.test(pattern) ? all.filter((name) => new RegExp(`^${letters}$`).test(name)) : [];
  if (found.length > 0) return found;
  throw expected(`a layer of ${of}`, "--layers", pattern, didYouMean(pattern.replace(/[*?]/g, ""), all));
}

function names(taps: readonly Tap[]): string {
  return taps.map(({ name }) => name).join(", ");
}
