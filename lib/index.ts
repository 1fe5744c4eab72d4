/**
 * The public interface of frozen-eval: how good a frozen vision backbone is, layer by layer.
 *
 *     const backbone = await loadBackbone({ dir: "models/imagenet1k/efficientnet_lite0" });
 *     const dataset = await openDataset({ spec: "folder:photos" });
 *     const features = await extractFeatures({ backbone, dataset, layers: "block4,block10,features" });
 *     const record = await evalLinear({ features, seeds: [0, 1, 2] });
 *     console.log(formatTable(record, { kind: "text" }));
 */
export { prepareBackend, type BackendDescription, type BackendOptions, type Device } from "./backend/backend.js";
export { loadBackbone, type Backbone } from "./backbones/backbone.js";
export { inspectGraphModel } from "./backbones/inspect.js";
export { parseLayers, type LayerEntry, type LayerRequest } from "./backbones/layers.js";
export type { BackboneManifest, Tap } from "./backbones/manifest.js";
export { parsePooling, type Pooling } from "./backbones/pooling.js";
export {
  exportClassifier,
  type ExportClassifierOptions,
  type ExportedClassifier,
} from "./classifiers/export-classifier.js";
export { loadClassifier, type Classifier, type ClassProbability } from "./classifiers/load-classifier.js";
export type { ClassifierManifest } from "./classifiers/manifest.js";
export type { Architecture, ArchitectureFamily } from "./convert/architecture.js";
export type { CheckpointWeights } from "./convert/checkpoint-weights.js";
export { convertCheckpoint, type ConvertOptions, type ConvertedBackbone } from "./convert/convert.js";
export { normalisedConvolution } from "./convert/convolution.js";
export type { GraphBuilder, GraphTensor } from "./convert/graph-builder.js";
export { constant, convolutionKernel, depthwiseKernel, linearMatrix } from "./convert/weight.js";
export { openDataset } from "./datasets/open.js";
export type { Dataset, DatasetSplit, SplitName, Targets } from "./datasets/dataset.js";
export { UserError } from "./errors.js";
export { arraySource, openNpyPair } from "./features/array-source.js";
export { exportStore, type ExportFormat, type ExportOptions } from "./features/export-store.js";
export { extractFeatures, type ExtractFeaturesOptions } from "./features/extract.js";
export type { FeatureSet } from "./features/feature-set.js";
export { liveFeatures, trainingTransform, viewFeatures, type LiveFeaturesOptions } from "./features/live.js";
export { launchExtraction, type LaunchedExtractionOptions } from "./features/launched-extraction.js";
export { mergeStores, type MergeOptions } from "./features/merge-stores.js";
export { openFeatures } from "./features/open-features.js";
export type { FeatureBatch, FeatureLayer, FeaturePass, FeatureSource } from "./features/source.js";
export { storeInfo, type StoreInfo } from "./features/store-info.js";
export type { StorePart } from "./features/store-part.js";
export { verifyStore, type StoreVerification } from "./features/verify-store.js";
export { createHeadBank, type HeadBank, type HeadBankOptions } from "./heads/bank.js";
export type { Trial } from "./heads/block.js";
export type { HeadSpec, HeadWeights } from "./heads/head.js";
export type { ImageSource, RgbImage } from "./images/image.js";
export { applyTransform, parseTransform, type Transform } from "./images/transform.js";
export { memoryRows, type MemoryRows } from "./logistic/memory-rows.js";
export { openLogisticPath, type LogisticPath, type LogisticPathOptions } from "./logistic/path.js";
export type { LogisticObjective, LogisticRows, LogisticSolution } from "./logistic/problem.js";
export {
  trainLogisticPath,
  type LogisticTrial,
  type TrainedLogisticPath,
  type TrainLogisticPathOptions,
} from "./logistic/train-path.js";
export type { Schedule } from "./optim/schedule.js";
export { silent, terminalProgress, type Progress, type ProgressTask } from "./progress.js";
export { finishedSeeds, runArguments } from "./protocols/cog/grid-jobs.js";
export {
  gridRuns,
  nameOfRun,
  planGrid,
  runGrid,
  type GridOptions,
  type GridPlan,
  type GridRun,
} from "./protocols/cog/grid.js";
export { launchGrid, type LaunchGridOptions } from "./protocols/cog/launched-grid.js";
export { evalLogreg, type EvalLogregOptions } from "./protocols/cog/logreg.js";
export type { LogregMethodName, LogregProtocol } from "./protocols/cog/protocol.js";
export { evalLinear, type EvalLinearOptions, type LinearProtocol } from "./protocols/linear/linear.js";
export { trainLowShotSvm, type TrainLowShotSvmOptions } from "./protocols/low-shot/low-shot-svm.js";
export { trainSvm, type TrainSvmOptions } from "./protocols/svm/svm.js";
export type { SvmProtocol } from "./protocols/svm/protocol.js";
export { compareRuns, type CompareOptions } from "./results/compare.js";
export type { ComparedEntry, ComparedRun, Comparison, PairedComparison } from "./results/comparison.js";
export { comparisonFigure } from "./results/comparison-figure.js";
export { formatComparison } from "./results/comparison-table.js";
export { loadHead } from "./results/export-head.js";
export { depthFigure } from "./results/figure.js";
export type { LevelResult } from "./results/levels.js";
export { readRecord, type LayerResult, type ResultRecord } from "./results/record.js";
export { formatTable } from "./results/table.js";
export { LinearSvm } from "./svm/linear-svm.js";
export type { SvmLoss, SvmObjective, SvmProblem, SvmRows, SvmSolution, SvmSolver } from "./svm/problem.js";
export { openSvmSolver } from "./svm/solver.js";
export { featureRows, type FeatureRowsOptions } from "./training/feature-rows.js";
export { zooBackbone, type ZooBackboneOptions } from "./zoo/backbone.js";
export { readZoo } from "./zoo/read.js";
export type { ZooEntry } from "./zoo/entry.js";
