/**
 * A mistake of the user's, told in one sentence: what was expected, what came, where, and what to do.
 *
 * The command line prints `message` and `hint` without a stack and exits with code 2; everything that is not a
 * `UserError` is a defect of ours and keeps its stack.
 */
export class UserError extends Error {
  /** What to do about it, in one sentence; undefined where the message already says it. */
  readonly hint?: string;

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = "UserError";
    this.hint = options.hint;
  }
}

/**
 * The sentence in which everything here complains: `Expected X for Y but received Z`.
 *
 * @param what the thing that was expected, e.g. `"a number in [0, 1)"`.
 * @param subject what it was expected for, e.g. `"--val-fraction"`.
 * @param received what came instead; values are shown as JSON, cut at 80 characters.
 */
export function expected(what: string, subject: string, received: unknown, hint?: string): UserError {
  return new UserError(`Expected ${what} for ${subject} but received ${show(received)}`, { hint });
}

/** `value` as a person reads it in a sentence: JSON where that is possible, at most 80 characters. */
export function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = typeof value === "bigint" ? String(value) : (JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/**
 * The names nearest to a misspelt one, nearest first, for "did you mean".
 *
 * @returns at most `most` names within an edit distance of a third of the name's length (at least 2), or that contain
 * it or are contained in it.
 */
export function nearest(name: string, names: Iterable<string>, most = 3): string[] {
  const limit = Math.max(2, Math.ceil(name.length / 3));
  const lower = name.toLowerCase();
  return [...new Set(names)]
    .map((candidate) => {
      const other = candidate.toLowerCase();
      const contained = other.length > 1 && lower.length > 1 && (other.includes(lower) || lower.includes(other));
      const distance = editDistance(lower, other);
      return { candidate, distance: contained ? Math.min(distance, limit) : distance };
    })
    .filter(({ distance }) => distance <= limit)
    .sort((a, b) => a.distance - b.distance || a.candidate.localeCompare(b.candidate))
    .slice(0, most)
    .map(({ candidate }) => candidate);
}

/** "Did you mean res4 or res5?", or the list of what there is where nothing is near. */
export function didYouMean(name: string, names: Iterable<string>): string {
  const all = [...names];
  const near = nearest(name, all);
  if (near.length > 0) return `Did you mean ${near.join(" or ")}?`;
  return all.length > 0 ? `There is ${all.slice(0, 30).join(", ")}${all.length > 30 ? ", …" : ""}.` : "There is none.";
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
