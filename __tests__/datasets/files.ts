import fs from "node:fs/promises";
import path from "node:path";

import type { UserError } from "../../lib/errors.js";

/** Writes files below `root`; content by path. */
export async function writeFiles(root: string, files: Record<string, string | Uint8Array>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(root, name);
    await fs.mkdir(path.dirname(file), { recursive: true });
    await fs.writeFile(file, content);
  }
}

/** What a promise fails with: message and hint, as the user reads them. */
export async function complaint(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => new Error("nothing went wrong"),
    (thrown: unknown) => thrown as UserError,
  );
  expect(error.name).toBe("UserError");
  return "hint" in error && error.hint ? `${error.message} ${error.hint}` : error.message;
}
