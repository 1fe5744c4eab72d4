import { expected, UserError } from "../errors.js";

/** All numbers between two: drawn at random, or `count` of them at equal distances. */
export interface Range {
  /** Below `to`; above 0 where the scale is logarithmic. */
  from: number;
  to: number;
  /** `log`: distances are ratios. */
  scale: "log" | "linear";
  /** Points of a grid, both ends among them; at least 2. */
  count?: number;
}

/** What is tried of one number: some values, or a range. */
export type Numbers = number[] | Range;

const number = String.raw`[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?`;
const rangeText = new RegExp(String.raw`^(\w+)\(\s*(${number})\s*(?:,|\.\.)\s*(${number})\s*(?:,\s*(\d+)\s*)?\)$`, "i");
const numberText = new RegExp(`^${number}$`, "i");

/**
 * Reads what people write: `0.1`, `0.1,0.01`, `log(1e-4,1)`, `linear(0,1)`, `log(1e-4..1, 7)` (7 points of a grid).
 * Lists and ranges as a YAML file has them are taken as they are, and checked.
 *
 * @param subject what it is for in messages, e.g. `"--lr"`.
 * @throws UserError where it is neither numbers nor a range, or the range has no extent.
 */
export function readNumbers(value: unknown, subject: string): Numbers {
  const items = typeof value === "string" ? itemsOf(value) : value;
  if (typeof items === "number") return checkNumbers([items], subject);
  if (!Array.isArray(items)) return checkNumbers(items as Numbers, subject);
  if (items.length === 1 && typeof items[0] === "string" && items[0].includes("(")) {
    return checkNumbers(readRange(items[0], subject), subject);
  }
  const numbers = items.map((item: unknown) =>
    typeof item === "string" && numberText.test(item.trim()) ? Number(item) : item,
  );
  return checkNumbers(numbers as number[], subject);
}

function itemsOf(text: string): string[] {
  const trimmed = text.trim();
  if (trimmed.includes("(")) return [trimmed];
  return trimmed === "" ? [] : trimmed.split(",");
}

function readRange(text: string, subject: string): Range {
  const [, scale, from, to, count] = rangeText.exec(text.trim()) ?? [];
  if (scale !== "log" && scale !== "linear") {
    throw expected("log(from,to), linear(from,to) or either with a count", subject, text, "For example log(1e-4,1).");
  }
  return { from: Number(from), to: Number(to), scale, ...(count !== undefined && { count: Number(count) }) };
}

/** @throws UserError where there is nothing to try: no value, no extent, or logarithms of what is not above 0. */
export function checkNumbers(numbers: Numbers, subject: string): Numbers {
  if (Array.isArray(numbers)) {
    if (numbers.length === 0) throw expected("at least one number", subject, numbers);
    const wrong = numbers.find((value) => !Number.isFinite(value));
    if (wrong !== undefined) throw expected("numbers, or one range such as log(1e-4,1),", subject, wrong);
    return numbers;
  }
  if (typeof numbers !== "object" || numbers === null) throw expected("numbers or a range", subject, numbers);
  const { from, to, scale, count } = numbers;
  if (scale !== "log" && scale !== "linear") throw expected("log or linear", `the scale of ${subject}`, scale);
  if (!Number.isFinite(from) || !Number.isFinite(to))
    throw expected("two numbers", `the range of ${subject}`, [from, to]);
  if (!(from < to)) {
    const hint = from > to ? "Exchange the two." : "A single value is written without a range.";
    throw expected("a lower end below the upper one", `the range of ${subject}`, [from, to], hint);
  }
  if (scale === "log" && !(from > 0)) {
    throw expected(
      "a lower end above 0",
      `the range of ${subject}`,
      from,
      "Logarithms have no 0: write linear(…), or a list.",
    );
  }
  if (count !== undefined && !(Number.isInteger(count) && count >= 2)) {
    throw expected("a count of at least 2", `the range of ${subject}`, count);
  }
  return numbers;
}

/**
 * The points of a grid. They are rounded to ten digits, so that a thousandth is 0.001 and not its neighbour.
 *
 * @throws UserError where a range does not tell how many points.
 */
export function gridPoints(numbers: Numbers, subject: string): number[] {
  if (Array.isArray(numbers)) return numbers;
  const { from, to, count } = numbers;
  if (count === undefined) {
    throw new UserError(`Expected a number of points for the range of ${subject}, as a grid has, but received none`, {
      hint: `Write ${numbers.scale}(${from},${to},5) for five of them, or search at random.`,
    });
  }
  return Array.from({ length: count }, (_, i) => (i === count - 1 ? to : between(numbers, i / (count - 1))));
}

/** @param share in [0, 1]: 0 is the lower end. */
export function between({ from, to, scale }: Range, share: number): number {
  if (share === 0) return from;
  const value = scale === "log" ? from * (to / from) ** share : from + (to - from) * share;
  return Math.min(to, Math.max(from, Number(value.toPrecision(10))));
}

/** Where a number lies in a range, in [0, 1]: undoes {@link between}. */
export function shareOf({ from, to, scale }: Range, value: number): number {
  const share = scale === "log" ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from);
  return Math.min(1, Math.max(0, share));
}
