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

  test("takes over where another process has the number of the one that is gone", async () => {
    writeFileSync(file, JSON.stringify({ token: "x", pid: process.pid, host: os.hostname(), began: "1" }));
    expect(await withLock({ file }, async () => "taken")).toBe("taken");
  });

  test("takes over from another machine that is silent while it is watched, whatever the clocks say", async () => {
    for (const content of [JSON.stringify({ token: "x", pid: 1, host: "elsewhere" }), "garbage"]) {
      for (const clock of [0, -3_600_000, 3_600_000]) {
        writeFileSync(file, content);
        const seen = new Date(Date.now() + clock);
        utimesSync(file, seen, seen);
        const told: string[] = [];
        const waiting = (holder: string) => told.push(holder);
        const began = performance.now();
        expect(await withLock({ file, staleAfter: 300, waiting }, async () => "taken")).toBe("taken");
        expect(performance.now() - began).toBeGreaterThan(300);
        expect(told).toEqual([]);
      }
    }
  });

  test("waits for another machine that renews its lock, though its clock is an hour behind", async () => {
    writeFileSync(file, JSON.stringify({ token: "x", pid: 1, host: "elsewhere" }));
    let behind = Date.now() - 3_600_000;
    const renewal = setInterval(() => utimesSync(file, new Date(), new Date((behind += 1000))), 100);
    const told: string[] = [];
    const taken = withLock({ file, staleAfter: 800, waiting: (holder) => told.push(holder) }, async () => "taken");
    await sleep(1200);
    clearInterval(renewal);
    expect(told).toEqual(["process 1 on elsewhere"]);
    expect(await taken).toBe("taken");
  });

  test("removes what was left by processes that were killed while they took it", async () => {
    writeFileSync(`${file}.123-abcdef01.partial`, '{"token": "y"}');
    writeFileSync(`${file}.124-abcdef01.partial`, "");
    await withLock({ file }, async () => expect(readdirSync(folder)).toEqual(["lock"]));
    expect(readdirSync(folder)).toEqual([]);
  });
});
