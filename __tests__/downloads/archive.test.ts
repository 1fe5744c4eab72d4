import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { extractEntries, readEntry } from "../../lib/downloads/archive.js";
import { zip } from "./zip.js";

describe("extractEntries", () => {
  let folder: string;
  let archive: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), "frozen-eval-test-"));
    archive = path.join(folder, "a.whl");
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const into = () => path.join(folder, "out");

  test("writes what is selected under the name that it is given", async () => {
    writeFileSync(archive, zip({ "p/a.txt": "one", "p/b/c.txt": "two", "q.txt": "three" }));
    const written = await extractEntries({
      archive,
      into: into(),
      select: (name) => (name.startsWith("p/") ? name.slice(2) : undefined),
    });
    expect(written).toEqual([path.join(into(), "a.txt"), path.join(into(), "b", "c.txt")]);
    expect(readFileSync(written[1]!, "utf8")).toBe("two");
    expect(readdirSync(into()).sort()).toEqual(["a.txt", "b"]);
    expect(await readEntry({ archive, matches: (name) => name === "q.txt" })).toBe("three");
    expect(await readEntry({ archive, matches: () => false })).toBeUndefined();
  });

  test("keeps the permission to execute", async () => {
    writeFileSync(archive, zip({ tool: "x" }, { mode: 0o755 }));
    const [tool] = await extractEntries({ archive, into: into(), select: (name) => name });
    expect(statSync(tool!).mode & 0o111).not.toBe(0);
  });

  test("large entries are whole", async () => {
    const content = Buffer.alloc(9_000_000, "frozen");
    writeFileSync(archive, zip({ large: content }));
    const [large] = await extractEntries({ archive, into: into(), select: (name) => name });
    expect(readFileSync(large!).equals(content)).toBe(true);
  });

  test.each([
    ["a name that climbs out", () => zip({ "../evil": "x" }), /evil/],
    ["an absolute name", () => zip({ "/tmp/evil": "x" }), /evil/],
    ["another content than its checksum says", () => zip({ a: "content" }, { crc: 1 }), /does not fit its checksum/],
    ["no zip at all", () => Buffer.from("not a zip"), /Expected a zip archive at .* but it is damaged/],
    ["a truncated one", () => zip({ a: "content" }).subarray(0, 60), /is damaged/],
  ])("refuses %s", async (_, content, message) => {
    writeFileSync(archive, content());
    const extraction = extractEntries({ archive, into: into(), select: (name) => name });
    await expect(extraction).rejects.toMatchObject({
      name: "UserError",
      message: expect.stringMatching(message) as string,
    });
    expect(readdirSync(folder)).not.toContain("evil");
    expect(readdirSync(folder).includes("out") ? readdirSync(into()) : []).toEqual([]);
  });

  test("refuses to let a new name leave the folder, and an archive that is not there", async () => {
    writeFileSync(archive, zip({ a: "x" }));
    await expect(extractEntries({ archive, into: into(), select: () => "../b" })).rejects.toThrow("which leaves it");
    await expect(extractEntries({ archive: "none.zip", into: into(), select: () => "b" })).rejects.toThrow(
      "Expected an archive at none.zip but there is no such file",
    );
  });
});
