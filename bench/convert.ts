/**
 * `frozen-eval convert`, as a program of its own, of checkpoints with random weights: ResNet-50 (100 MB) and ViT-L/16
 * (1.2 GB). Beside it the usual way: torch.onnx, onnx2tf and tensorflowjs_converter, each a program too.
 *
 *     node dist/bench/convert.js [resnet50] [vit_large] [--python python3] [--converters DIR] [--device auto] [--rounds 3]
 *
 * `--converters` is the `bin` folder where `pip install onnx2tf tensorflowjs` put its programs; without it only the
 * export is timed.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { median, openPeer, root } from "./peer.js";
import type { Peer } from "./peer.js";

/** What a program took: seconds on the clock and of all processors, and its peak resident memory in bytes. */
interface Cost {
  seconds: number;
  processor: number;
  memory: number;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      python: { type: "string", default: "python3" },
      converters: { type: "string" },
      device: { type: "string", default: "auto" },
      rounds: { type: "string", default: "3" },
    },
  });
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "frozen-eval-bench-"));
  const peer = openPeer({ python: values.python, script: "convert.py", args: [] });
  try {
    await peer.next();
    for (const name of positionals.length > 0 ? positionals : ["resnet50", "vit_large"]) {
      await compare({ name, folder, peer, ...values, rounds: Number(values.rounds) });
    }
  } finally {
    peer.end();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function compare(options: {
  name: string;
  folder: string;
  peer: Peer;
  python: string;
  converters?: string;
  device: string;
  rounds: number;
}): Promise<void> {
  const { name, folder, peer, python, converters, device, rounds } = options;
  const at = (file: string) => path.join(folder, file);
  const script = path.join(root, "bench", "peers", "convert.py");
  const program = path.join(root, "cli", "bin", "frozen-eval.cjs");
  const [checkpoint, onnx, savedModel] = [at(`${name}.pth`), at(`${name}.onnx`), at("saved_model")];
  await cost(peer, folder, [python, script, "make", name, checkpoint]);
  const programs: Record<string, string[]> = {
    "frozen-eval": [process.execPath, program, "convert", checkpoint, "--out", at("models"), "--device", device],
    "torch.onnx": [python, script, "export", name, checkpoint, onnx],
    ...(converters && {
      onnx2tf: [path.join(converters, "onnx2tf"), "-i", onnx, "-o", savedModel, "-osd", "-n"],
      tensorflowjs: [path.join(converters, "tensorflowjs_converter"), "--input_format=tf_saved_model", savedModel, at("tfjs")], // prettier-ignore
    }),
  };
  const costs: Record<string, Cost[]> = {};
  for (let round = 0; round < rounds; round++) {
    for (const [step, command] of Object.entries(programs)) {
      (costs[step] ??= []).push(await cost(peer, folder, command));
    }
  }
  const size = (fs.statSync(checkpoint).size / 1e6).toFixed(0);
  console.log(`${name}, ${size} MB; medians of ${rounds}; load ${os.loadavg()[0]!.toFixed(1)}`);
  console.log("program         seconds   processor s   peak GB");
  for (const [step, all] of Object.entries(costs)) {
    const middle = (key: keyof Cost) => median(all.map((one) => one[key]));
    const figures = [middle("seconds").toFixed(1).padStart(7), middle("processor").toFixed(1).padStart(13)];
    console.log(`${step.padEnd(15)} ${figures.join(" ")} ${(middle("memory") / 1e9).toFixed(2).padStart(9)}`);
  }
  for (const file of [checkpoint, onnx]) fs.rmSync(file, { force: true });
}

async function cost(peer: Peer, folder: string, run: string[]): Promise<Cost> {
  const { failed, ...taken } = JSON.parse(await peer.ask(JSON.stringify({ run, in: folder }))) as Cost & { failed: string }; // prettier-ignore
  if (failed) throw new Error(`${run.join(" ")} failed: ${failed}`);
  return taken;
}

void main();
