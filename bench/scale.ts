/**
 * Large sets and stores, measured on this machine:
 *
 *     node dist/bench/scale.js listing SPEC             time and memory until a data set is open
 *     node dist/bench/scale.js extraction [--images N]  memory while N small images pass through a small backbone
 *     node dist/bench/scale.js store [--images N]       a store of N × 2,048 written beside dd, opened, read in shuffled order
 *
 * What is generated goes to the system's folder of temporary files, and is removed.
 */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { writeSmallBackbone } from "../__tests__/small-backbone.js";
import { loadBackbone } from "../lib/backbones/backbone.js";
import { prepareBackend } from "../lib/backend/backend.js";
import { openDataset } from "../lib/datasets/open.js";
import { extractFeatures } from "../lib/features/extract.js";
import { openStore } from "../lib/features/store.js";
import { openStoredSource } from "../lib/features/stored-source.js";
import type { Progress } from "../lib/progress.js";
import { random } from "../lib/random.js";
import { peakOf } from "./memory.js";
import { randomStore } from "./random-store.js";

const mega = (bytes: number) => `${Math.round(bytes / 1e6)} MB`;

/** Seconds on the clock and of the processor. */
async function timed<T>(work: () => Promise<T>): Promise<{ result: T; told: string; seconds: number }> {
  const [began, cpu] = [performance.now(), process.cpuUsage()];
  const result = await work();
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - began) / 1000;
  return {
    result,
    seconds,
    told: `${seconds.toFixed(1)} s (${((user + system) / 1e6).toFixed(1)} s of processor time)`,
  };
}

async function listing(spec: string): Promise<void> {
  const { result, told } = await timed(() => openDataset({ spec }));
  const images = Object.values(result.splits).reduce((sum, { size }) => sum + size, 0);
  console.log(`${spec}: ${images} images in ${told}, peak ${mega(peakOf())}`);
}

/** Writes archives of images of 12 × 12 and labels, as WebDataset has them. */
function writeArchives(folder: string, images: number): void {
  const stream = random(0, "scale");
  const perArchive = 10_000;
  const pixels = Buffer.from(Uint8Array.from({ length: 12 * 12 * 3 + 4096 }, () => stream.integer(256)));
  for (let start = 0; start < images; start += perArchive) {
    const parts: Buffer[] = [];
    for (let i = start; i < Math.min(start + perArchive, images); i++) {
      const at = (i * 7) % 4096;
      const image = Buffer.concat([Buffer.from("P6 12 12 255\n"), pixels.subarray(at, at + 12 * 12 * 3)]);
      parts.push(...entry(`${String(i).padStart(8, "0")}.png`, image));
      parts.push(...entry(`${String(i).padStart(8, "0")}.cls`, Buffer.from(String(i % 10))));
    }
    parts.push(Buffer.alloc(1024));
    fs.writeFileSync(path.join(folder, `${String(start / perArchive).padStart(6, "0")}.tar`), Buffer.concat(parts));
  }
}

function entry(name: string, content: Buffer): Buffer[] {
  const header = Buffer.alloc(512);
  header.write(name);
  header.write("0000644\0", 100);
  header.write(`${content.length.toString(8).padStart(11, "0")}\0`, 124);
  header.write("ustar\x0000", 257, "latin1");
  header.write("0", 156);
  header.fill(" ", 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return [header, content, Buffer.alloc((512 - (content.length % 512)) % 512)];
}

async function extraction(folder: string, images: number): Promise<void> {
  fs.mkdirSync(path.join(folder, "shards"));
  writeArchives(path.join(folder, "shards"), images);
  const dir = await writeSmallBackbone({ root: path.join(folder, "models"), size: 8, channels: 4 });
  await prepareBackend({ device: "auto" });
  const opened = await timed(() => openDataset({ spec: `webdataset:${path.join(folder, "shards")}` }));
  console.log(`listing of ${images} images: ${opened.told}, memory ${mega(process.memoryUsage().rss)}`);
  const samples: { done: number; resident: number }[] = [];
  let done = 0;
  const progress: Progress = {
    note: () => {},
    task: () => ({
      advance: (count) => {
        done += count;
        if (done < ((samples.length + 1) * images) / 20) return;
        samples.push({ done, resident: process.memoryUsage().rss });
        console.log(`${done} images: ${mega(samples.at(-1)!.resident)}`);
      },
      end: () => {},
    }),
  };
  const backbone = await loadBackbone({ dir });
  const options = { backbone, dataset: opened.result, root: path.join(folder, "features"), batchSize: 64 };
  const { told, seconds } = await timed(() => extractFeatures({ ...options, layers: "features", progress }));
  const later = samples.slice(4);
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [x, y] = [mean(later.map(({ done }) => done)), mean(later.map(({ resident }) => resident))];
  const slope =
    later.reduce((sum, one) => sum + (one.done - x) * (one.resident - y), 0) /
    later.reduce((sum, one) => sum + (one.done - x) ** 2, 0);
  console.log(`${told}, ${(images / seconds).toFixed(0)} images/s, peak ${mega(peakOf())}`);
  console.log(`from a quarter on, memory rises by ${slope.toFixed(1)} bytes an image`);
}

async function store(folder: string, images: number): Promise<void> {
  const width = 2048;
  const size = images * width * 4;
  const zeros = path.join(folder, "zeros");
  // As one file that is synced at its end, or in pieces as long as shards, each synced as shards are.
  const dd = (...how: string[]) =>
    timed(async () => {
      const count = Math.ceil(size / 2 ** 22);
      execFileSync("dd", ["if=/dev/zero", `of=${zeros}`, "bs=4M", `count=${count}`, ...how], { stdio: "ignore" });
      fs.rmSync(zeros);
    });
  const before = await dd("conv=fsync");
  const written = await timed(() => randomStore({ root: folder, layers: [{ name: "res5avg", shape: [width] }], images, classes: 1000 })); // prettier-ignore
  const after = await dd("oflag=dsync");
  const rate = (seconds: number) => `${Math.round(size / 1e6 / seconds)} MB/s`;
  console.log(`dd: ${rate(before.seconds)}, synced at the end; ${rate(after.seconds)}, each 4 MB synced`);
  console.log(`store of ${images} × ${width}: written in ${written.told}, ${rate(written.seconds)}`);
  const opened = await timed(() => openStore({ folder: written.result }));
  console.log(`opened in ${opened.told}`);
  const source = await openStoredSource({ store: opened.result });
  const order = random(0, "order");
  const rows = Uint32Array.from({ length: images }, (_, row) => row);
  for (let i = images - 1; i > 0; i--) {
    const j = order.integer(i + 1);
    [rows[i], rows[j]] = [rows[j]!, rows[i]!];
  }
  await prepareBackend({ device: "auto" });
  for (const pass of ["first", "second"]) {
    const read = await timed(async () => {
      for await (const { features } of source.pass({ rows, batchSize: 256 })) Object.values(features).forEach((one) => one.dispose()); // prettier-ignore
    });
    console.log(`${pass} pass in shuffled order: ${read.told}, ${rate(read.seconds)}, peak ${mega(peakOf())}`);
  }
  await source.close();
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ options: { images: { type: "string" } }, allowPositionals: true });
  const [action, spec] = positionals;
  if (action === "listing") return listing(spec!);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "frozen-eval-scale-"));
  try {
    if (action === "extraction") await extraction(folder, Number(values.images ?? 1_300_000));
    if (action === "store") await store(folder, Number(values.images ?? 1_000_000));
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

void main();
