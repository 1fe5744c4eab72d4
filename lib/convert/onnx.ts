import path from "node:path";

import { ensureBackend } from "../backend/backend.js";
import { readOnnx } from "../checkpoints/onnx/model.js";
import { sha256OfFile } from "../files.js";
import type { GraphBuilder } from "./graph-builder.js";
import { expectNames, writeImported, type ImportedBackbone, type ImportOptions } from "./import.js";
import { traceOnnx } from "./onnx/graph.js";
import { proveConversion } from "./proof.js";

/** What an import of ONNX asks for besides what each import does. */
export interface ImportOnnxOptions extends ImportOptions {
  /** The file's name where undefined. */
  arch?: string;
  /** Nodes, or what they give, by name; `*` stands for any letters. The ends of blocks are proposed where undefined. */
  taps?: readonly string[];
  /** Of a network that takes images of any size; 224x224 where undefined. */
  inputSize?: readonly [height: number, width: number];
}

export interface ImportedOnnx extends ImportedBackbone {
  graph: GraphBuilder;
  /** The program that exported it. */
  producer: string;
}

/**
 * Writes an ONNX network as a TensorFlow.js GraphModel with its manifest. Weights that the file keeps in files of their
 * own lie beside it.
 *
 * @throws UserError where the file is no whole ONNX model of opset 9 or later, weights beside it are missing or outside
 * its folder, an operator cannot be written, or a tap is not there; nothing is written then.
 */
export async function importOnnx(options: ImportOnnxOptions): Promise<ImportedOnnx> {
  const { file, arch = archOf(file), taps, inputSize, precision = "float32", verify } = options;
  expectNames({ ...options, arch });
  const model = await readOnnx({ file });
  const trace = await traceOnnx({ model, taps, inputSize });
  const { graph, shapes, isAnyBatch } = trace;
  await ensureBackend();
  const proof = await proveConversion({ graph, precision, verify });
  const written = await writeImported({
    ...options,
    arch,
    graph,
    shapes,
    batch: isAnyBatch ? "any" : trace.batch,
    proof,
    sha256: await sha256OfFile(file),
  });
  const warnings = [
    ...written.warnings,
    ...(isAnyBatch ? [] : [`The graph takes batches of ${trace.batch} alone, for it was exported so.`]),
  ];
  return { ...written, warnings, graph, producer: model.producer };
}

function archOf(file: string): string {
  return path.basename(file).replace(/\.onnx$/i, "").replace(/[^A-Za-z0-9._-]/g, "_"); // prettier-ignore
}
