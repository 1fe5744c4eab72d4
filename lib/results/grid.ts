/** `text` for a terminal; `markdown` for a README or a pull request. */
export type TableKind = "text" | "markdown";

/** One field of a table. */
export interface Cell {
  text: string;
  best?: boolean;
}

/** A table before it is text. */
export interface Grid {
  /** One a column; `group` is the head above it. */
  columns: { name: string; group: string; align: "left" | "right" }[];
  rows: Cell[][];
}

/** The lines of a table: aligned for a terminal, where the best is marked (and bold with `color`), or as Markdown. */
export function gridLines(grid: Grid, { kind, color = false }: { kind: TableKind; color?: boolean }): string[] {
  return kind === "markdown" ? markdownLines(grid) : textLines(grid, color);
}

function textLines({ columns, rows }: Grid, color: boolean): string[] {
  const marked = rows.map((row) => row.map((cell) => ({ ...cell, text: cell.best ? `* ${cell.text}` : cell.text })));
  const widths = columns.map(({ name }, i) => Math.max(name.length, ...marked.map((row) => row[i]!.text.length)));
  const join = (texts: string[]) => texts.join("  ").trimEnd();
  const rule = join(widths.map((width) => "─".repeat(width)));
  return [
    groupLine(columns, widths),
    join(columns.map(({ name, align }, i) => pad(name, widths[i]!, align))),
    rule,
    ...marked.map((row) =>
      join(
        row.map(({ text, best }, i) => {
          const padded = pad(text, widths[i]!, columns[i]!.align);
          return best && color ? `\u001b[1m${padded}\u001b[22m` : padded;
        }),
      ),
    ),
    rule,
  ];
}

/** The heads' names, each at the left edge of its columns. */
function groupLine(columns: Grid["columns"], widths: number[]): string {
  let line = "";
  let left = 0;
  columns.forEach(({ group }, i) => {
    if (group !== columns[i - 1]?.group) line = `${line.padEnd(left)}${group}`;
    left += widths[i]! + 2;
  });
  return line;
}

function markdownLines({ columns, rows }: Grid): string[] {
  const texts = [
    columns.map(({ name, group }) => escapeMarkdown(`${group} ${name}`.trim())),
    ...rows.map((row) => row.map(({ text, best }) => (best ? `**${escapeMarkdown(text)}**` : escapeMarkdown(text)))),
  ];
  const widths = columns.map((_, i) => Math.max(4, ...texts.map((row) => row[i]!.length)));
  const line = (row: string[]) => `| ${row.map((text, i) => pad(text, widths[i]!, columns[i]!.align)).join(" | ")} |`;
  const rule = columns.map(({ align }, i) => (align === "left" ? "" : ":").padStart(widths[i]!, "-"));
  return [line(texts[0]!), line(rule), ...texts.slice(1).map(line)];
}

function escapeMarkdown(text: string): string {
  return text.replaceAll(/[|*\\]/g, "\\$&");
}

function pad(text: string, width: number, align: "left" | "right"): string {
  return align === "left" ? text.padEnd(width) : text.padStart(width);
}
