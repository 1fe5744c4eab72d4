import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { downloadFile } from "../../lib/downloads/fetch-file.js";
import { root } from "../golden.js";
import { integrity, type LocalServer, serve, sha256 } from "./server.js";

describe("downloadFile", () => {
  const content = randomBytes(300_000);
  let folder: string;
  let file: string;
  let server: LocalServer;

  beforeEach(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), "frozen-eval-test-"));
    file = path.join(folder, "below", "file.bin");
    server = await serve({ "/file.bin": { content } });
  });
  afterEach(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });
  const download = (options: { sha256?: string; path?: string } = {}) =>
    downloadFile({
      url: `${server.url}${options.path ?? "/file.bin"}`,
      file,
      label: "the file",
      sha256: options.sha256 ?? sha256(content),
      retryPause: 1,
    });

  test("fetches a file once, and leaves nothing else beside it", async () => {
    await download();
    await download();
    expect(readFileSync(file).equals(content)).toBe(true);
    expect(readdirSync(path.dirname(file))).toEqual(["file.bin"]);
    expect(server.requests).toHaveLength(1);
  });

  test("takes npm's integrity too", async () => {
    const url = `${server.url}/file.bin`;
    await downloadFile({ url, file, label: "the file", integrity: integrity(content) });
    expect(readFileSync(file).equals(content)).toBe(true);
  });

  test("takes the first digits of a digest, md5, and no digest at all", async () => {
    const url = `${server.url}/file.bin`;
    const md5 = createHash("md5").update(content).digest("hex");
    for (const digest of [
      { sha256: sha256(content).slice(0, 8) },
      { md5: md5.slice(0, 6) },
      { unpublished: true as const },
    ]) {
      await downloadFile({ url, file, label: "the file", ...digest });
      expect(readFileSync(file).equals(content)).toBe(true);
      rmSync(file);
    }
    const other = { url, file, label: "the file", md5: "000000" };
    await expect(downloadFile(other)).rejects.toThrow(
      `Expected 000000 as the md5 of the file but received ${md5} from ${url}`,
    );
  });

  test("follows a redirect", async () => {
    server.files["/old"] = { content: Buffer.alloc(0), movedTo: "/file.bin" };
    await download({ path: "/old" });
    expect(readFileSync(file).equals(content)).toBe(true);
  });

  test("refuses a web page in a file's place, and keeps none of it", async () => {
    server.files["/file.bin"] = { content: Buffer.from("\n<!DOCTYPE html><html><body>Log in</body></html>") };
    await expect(
      downloadFile({ url: `${server.url}/file.bin`, file, label: "the file", unpublished: true }),
    ).rejects.toMatchObject({
      name: "UserError",
      message: `Expected the file at ${server.url}/file.bin but received a web page instead of a file`,
    });
    expect(readdirSync(path.dirname(file))).toEqual([]);
    expect(server.requests).toHaveLength(1);
  });

  test("goes on after cut connections and answers of the moment", async () => {
    const seen = () => (existsSync(`${file}.part`) ? statSync(`${file}.part`).size : 0);
    server.files["/file.bin"] = { content, statuses: [503], cut: { after: 100_000, times: 2, seen } };
    await download();
    expect(readFileSync(file).equals(content)).toBe(true);
    expect(server.requests.map(({ range }) => range)).toEqual([undefined, undefined, "bytes=100000-", "bytes=200000-"]);
  });

  test("goes on where an earlier run was killed", async () => {
    await download();
    rmSync(file);
    writeFileSync(`${file}.part`, content.subarray(0, 1234));
    await download();
    expect(readFileSync(file).equals(content)).toBe(true);
    expect(server.requests.at(-1)!.range).toBe("bytes=1234-");
  });

  test("starts again where what was kept is of another file, or all of it, or the server knows no ranges", async () => {
    await download();
    for (const [kept, ignoresRange] of [
      [randomBytes(1000), false],
      [randomBytes(400_000), false],
      [content, false],
      [content.subarray(0, 10), true],
    ] as const) {
      rmSync(file);
      writeFileSync(`${file}.part`, kept);
      server.files["/file.bin"] = { content, ignoresRange };
      await download();
      expect(readFileSync(file).equals(content)).toBe(true);
    }
  });

  test("fetches again what was altered on the disk", async () => {
    await download();
    writeFileSync(file, "altered");
    await download();
    expect(readFileSync(file).equals(content)).toBe(true);
  });

  test("refuses another content than expected, and keeps none of it", async () => {
    await expect(download({ sha256: "0".repeat(64) })).rejects.toThrow(
      `Expected ${"0".repeat(64)} as the sha256 of the file but received ${sha256(content)}`,
    );
    expect(readdirSync(path.dirname(file))).toEqual([]);
  });

  test("says that a file is not there, without asking again", async () => {
    await expect(download({ path: "/other" })).rejects.toMatchObject({
      name: "UserError",
      message: expect.stringContaining(
        `Expected the file at ${server.url}/other but the server answered 404`,
      ) as string,
    });
    expect(server.requests).toHaveLength(1);
  });

  test("says what to do where there is no connection, or only cut ones", async () => {
    server.files["/file.bin"] = { content, cut: { after: 10, times: 9 } };
    await expect(download()).rejects.toMatchObject({
      message: expect.stringMatching(/after 4 tries, the connection was cut/) as string,
      hint: expect.stringContaining("HTTPS_PROXY") as string,
    });
    await server.close();
    await expect(download()).rejects.toThrow(/after 4 tries, no answer from 127\.0\.0\.1:\d+ \(ECONNREFUSED\)/);
    expect(existsSync(file)).toBe(false);
    expect(existsSync(`${file}.lock`)).toBe(false);
  });

  test("processes that want the same file take turns", async () => {
    server.files["/file.bin"] = { content, slow: 300 };
    const library = path.join(root, "dist", "lib", "downloads", "fetch-file.js");
    const script = `require(${JSON.stringify(library)}).downloadFile(JSON.parse(process.argv[1]))`;
    const options = { url: `${server.url}/file.bin`, file, label: "the file", sha256: sha256(content) };
    const one = () =>
      new Promise<number | null>((resolve) =>
        spawn(process.execPath, ["-e", script, JSON.stringify(options)], { stdio: "inherit" }).on("close", resolve),
      );
    expect(await Promise.all([one(), one(), one()])).toEqual([0, 0, 0]);
    expect(readFileSync(file).equals(content)).toBe(true);
    expect(server.requests).toHaveLength(1);
  });
});
