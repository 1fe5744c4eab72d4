import type { Call } from "./trace.js";
import type { Value } from "./value.js";
import { convolutions } from "./convolutions.js";
import { elementwise } from "./elementwise.js";
import { matrices } from "./matrices.js";
import { normalisations } from "./normalisations.js";
import { poolings } from "./poolings.js";
import { reductions } from "./reductions.js";
import { resizing } from "./resizing.js";
import { selections } from "./selections.js";
import { shapes } from "./shapes.js";

/** What each operator becomes: a value, or one for each output. */
export type Operators = Record<string, (call: Call) => Value | Value[]>;

/**
 * Every operator of ONNX that can be written as a graph, opset 9 and later: https://onnx.ai/onnx/operators/
 */
export const operators: ReadonlyMap<string, Operators[string]> = new Map(
  Object.entries({
    ...convolutions,
    ...elementwise,
    ...matrices,
    ...normalisations,
    ...poolings,
    ...reductions,
    ...resizing,
    ...selections,
    ...shapes,
  }),
);
