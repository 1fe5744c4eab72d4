import { UserError } from "./errors.js";

/** Records of a CSV (RFC 4180: quotes, doubled quotes and line breaks in quotes), each with the line it begins on. */
export function* parseCsv(text: string, file: string): Generator<{ fields: string[]; line: number }, void> {
  const field = /"([^"]*(?:""[^"]*)*)"[ \t]*(?=[,\r\n]|$)|([^,\r\n"][^,\r\n]*|)/y;
  let line = 1;
  let at = text.startsWith("\uFEFF") ? 1 : 0;
  while (at < text.length) {
    const fields: string[] = [];
    const begun = line;
    for (;;) {
      field.lastIndex = at;
      const match = field.exec(text);
      const stopped = match ? at + match[0].length : at;
      if (!match || (stopped < text.length && !",\r\n".includes(text[stopped]!))) {
        throw new UserError(`Expected a quoted field to end in line ${begun} of ${file} but its quotes do not close`, {
          hint: 'A quote inside quotes is doubled: "a ""b"" c".',
        });
      }
      fields.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? "");
      line += match[0].split("\n").length - 1;
      at = stopped;
      if (text[at] !== ",") break;
      at++;
    }
    if (text[at] === "\r") at++;
    if (text[at] === "\n") at++;
    line++;
    if (fields.length > 1 || fields[0]!.trim() !== "") yield { fields, line: begun };
  }
}

/** One line, its line break included. */
export function csvLine(fields: readonly (string | number)[]): string {
  const quoted = fields.map((field) => {
    const text = String(field);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  });
  return `${quoted.join(",")}\n`;
}
