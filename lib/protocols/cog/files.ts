import fs from "node:fs/promises";
import path from "node:path";

import { bytes, called, dictionary, float, list, named, pickleOf } from "../../checkpoints/pickle-writer.js";
import { torchArchive } from "../../checkpoints/torch-writer.js";
import { writeFileAtomic, writeJson, writePiecesAtomic } from "../../files.js";
import { transposed } from "../../matrices/transposed.js";
import { pythonFloat } from "../../python-float.js";
import type { LogregFit, LogregTask } from "./method.js";
import type { Tally } from "./tally.js";
import type { EpochLog } from "./training.js";

/**
 * Writes what CoG's `logreg.py` writes of one seed, under its names, so that its `print_results.py` reads it:
 *
 *     arguments.json                  the settings
 *     final-lr-{lr}_wd-{wd}/logs.pkl  for each of train/loss, train/top1, …, test/top5 and lr a list, one number an epoch
 *                      …/preds.pkl    a list of float32 tensors, the predicted classes after each epoch
 *                      …/model.pth    the state dictionary of torch.nn.Linear
 *                      …/model.txt    what is in it
 *
 * What an earlier run of other images left is removed: CoG's programs want one `final-` folder.
 *
 * Accuracies are in percent there, and `lr` is the rate that was set when the epoch was over.
 *
 * Source: ImageNet-CoG, `logreg.py` (protocols.md 2.6).
 */
export async function writeCogFiles(options: { folder: string; task: LogregTask; fit: LogregFit }): Promise<void> {
  const { folder, task, fit } = options;
  const { settings } = task;
  const { epochs = [] } = fit;
  const { lr, weightDecay } = fit.chosen as Record<string, number>;
  const final = path.join(folder, `final-lr-${pythonFloat(lr!)}_wd-${pythonFloat(weightDecay!)}`);
  const earlier = (await fs.readdir(folder)).filter((name) => name.startsWith("final-"));
  for (const name of earlier) await fs.rm(path.join(folder, name), { recursive: true, force: true });
  await writeJson(path.join(folder, "arguments.json"), { ...settings, seeds: undefined, seed: task.seed });
  await writeFileAtomic(
    path.join(final, "logs.pkl"),
    logsPickle(
      task,
      epochs.map(({ log }) => log),
      lr!,
    ),
  );
  await writeFileAtomic(
    path.join(final, "preds.pkl"),
    await predictionsPickle(epochs.map(({ predicted }) => predicted)),
  );
  await writeModel({ folder: final, task, fit });
}

/** `model.pth`, the state dictionary of torch.nn.Linear, and `model.txt`, which tells what it is. */
export async function writeModel(options: { folder: string; task: LogregTask; fit: LogregFit }): Promise<void> {
  const { folder, task, fit } = options;
  const { layer, classes } = task;
  const { weight, bias } = fit.weights;
  const rows = transposed(weight, layer.width, classes);
  await writePiecesAtomic(
    path.join(folder, "model.pth"),
    torchArchive({
      name: "model",
      values: {
        weight: { dtype: "float32", shape: [classes, layer.width], pieces: [bytesOf(rows)] },
        bias: { dtype: "float32", shape: [classes], pieces: [bytesOf(bias)] },
      },
    }),
  );
  const text = `Linear(in_features=${layer.width}, out_features=${classes}, bias=True)\n`;
  await writeFileAtomic(path.join(folder, "model.txt"), text);
}

function logsPickle({ settings: { epochs } }: LogregTask, logs: EpochLog[], lr: number): Buffer {
  const rateAfter = (epoch: number) => (lr * (1 + Math.cos((Math.PI * epoch) / epochs))) / 2;
  const of = (part: "train" | "test", what: keyof Tally, scale: number): [string, Buffer] => {
    const seen = logs.flatMap((log) => log[part] ?? []);
    return [`${part}/${what}`, list(seen.map((tally) => float(scale * tally[what])))];
  };
  const parts = (["train", "test"] as const).flatMap((part) => [of(part, "loss", 1), of(part, "top1", 100), of(part, "top5", 100)]); // prettier-ignore
  return pickleOf(dictionary([...parts, ["lr", list(logs.map((_, epoch) => float(rateAfter(epoch))))]]));
}

/** torch pickles a tensor as a call that loads what `torch.save` wrote of it. */
async function predictionsPickle(predictions: Int32Array[]): Promise<Buffer> {
  const load = named("torch.storage", "_load_from_bytes");
  const tensors: Buffer[] = [];
  for (const labels of predictions) {
    const values = { dtype: "float32" as const, shape: [labels.length], pieces: [bytesOf(Float32Array.from(labels))] };
    const pieces: Uint8Array[] = [];
    for await (const piece of torchArchive({ name: "predictions", values })) pieces.push(piece);
    tensors.push(called(load, [bytes(Buffer.concat(pieces))]));
  }
  return pickleOf(list(tensors));
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
