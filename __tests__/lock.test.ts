import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { withLock } from "../lib/lock.js";

describe("withLock", () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), "frozen-eval-test-"));
    file = path.join(folder, "lock");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test("lets one after another work, and leaves nothing behind, also when work fails", async () => {
    let working = 0;
    let most = 0;
    const work = async () => {
      most = Math.max(most, ++working);
      await sleep(20);
      working--;
    };
    await Promise.all(Array.from({ length: 4 }, () => withLock({ file }, work)));
    expect(most).toBe(1);
    await expect(withLock({ file }, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(readdirSync(folder)).toEqual([]);
  });

  test("takes over from a process that is gone", async () => {
    const { pid } = spawnSync(process.execPath, ["-e", ""]);
    writeFileSync(file, JSON.stringify({ token: "x", pid, host: os.hostname() }));
    const told: string[] = [];
    expect(await withLock({ file, waiting: (holder) => told.push(holder) }, async () => existsSync(file))).toBe(true);
    expect(told).toEqual([]);
  });

  test("takes over from another machine once it is silent, and from a lock that cannot be read", async () => {
    for (const content of [JSON.stringify({ token: "x", pid: 1, host: "elsewhere" }), "garbage"]) {
      writeFileSync(file, content);
      const told: string[] = [];
      const taken = withLock({ file, staleAfter: 60_000, waiting: (holder) => told.push(holder) }, async () => "taken");
      await sleep(150);
      expect(told).toHaveLength(1);
      const longAgo = new Date(Date.now() - 61_000);
      utimesSync(file, longAgo, longAgo);
      expect(await taken).toBe("taken");
    }
  });
});
