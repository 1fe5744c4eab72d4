import { type LayerResult, type ResultRecord, spread } from "../../lib/results/record.js";

/** A record as `eval-linear` writes it: three layers, two heads, three seeds. */
export function exampleRecord(): ResultRecord {
  return {
    format: 1,
    protocol: { id: "linear", version: 1 },
    settings: { seed: 0, layers: ["block4", "block10", "features"], lr: [0.01, 0.1], weightDecay: [0, 0.0001] },
    backbone: {
      title: "imagenet",
      arch: "efficientnet-lite0",
      digest: "5f0c",
      transform: "resize(224x224,bicubic)|normalize(imagenet)",
      precision: "float32",
    },
    data: {
      spec: "emoji:noto",
      name: "emoji",
      digest: "90ab",
      classes: { count: 4, names: ["animals", "flags", "food", "people"] },
      splits: { train: 1200, val: 300, test: 300, how: "drawn from all by seed 0, stratified" },
      majorityRate: 0.31,
    },
    seeds: [0, 1, 2],
    selection: { on: "held-out val", metric: "top1", reportedOn: "test", selectedOnReported: false },
    results: [
      exampleResult({ layer: "block4", head: "fc", top1: [0.51, 0.52, 0.53], shape: [80, 3, 3] }),
      exampleResult({ layer: "block4", head: "bn_fc", top1: [0.55, 0.56, 0.54], shape: [80, 3, 3] }),
      exampleResult({ layer: "block10", head: "fc", top1: [0.7, 0.71, 0.69], shape: [192, 2, 2] }),
      exampleResult({ layer: "block10", head: "bn_fc", top1: [0.725, 0.735, 0.73], shape: [192, 2, 2] }),
      exampleResult({ layer: "features", head: "fc", top1: [0.68, 0.69, 0.7], shape: [1280] }),
      exampleResult({ layer: "features", head: "bn_fc", top1: [0.7, 0.69, 0.71], shape: [1280] }),
    ],
    badImages: { skipped: 0, list: [] },
    timings: { extract: 31.5, train: 12.25, total: 45, imagesPerSecond: 57.1 },
    machine: { cpu: "a processor", cores: 2, backend: "tensorflow", tensorflow: "2.21.0", device: "cpu" },
    software: { frozenEval: "0.1.0", tfjs: "4.22.0", node: "20.19.0" },
    startedAt: "2025-01-02T03:04:05.000Z",
    finishedAt: "2025-01-02T03:04:50.000Z",
  };
}

export function exampleResult(options: { layer: string; head: string; top1: number[]; shape: number[] }): LayerResult {
  const { layer, head, top1, shape } = options;
  const width = shape.reduce((a, b) => a * b, 1);
  return {
    layer,
    shape,
    width,
    head,
    parameters: (width + 1) * 4 + (head === "bn_fc" ? 2 * shape[0]! : 0),
    chosen: { lr: 0.1, weightDecay: 0.0001 },
    metrics: { top1: spread(top1), top5: spread(top1.map((share) => (1 + share) / 2)) },
    selection: spread(top1),
    trials: [
      { setting: { lr: 0.1, weightDecay: 0.0001 }, selection: spread(top1), diverged: false, epochsRun: 20 },
      { setting: { lr: 10, weightDecay: 0 }, selection: null, diverged: true, epochsRun: 2 },
    ],
    converged: true,
    notes: [],
  };
}
