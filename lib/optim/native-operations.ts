import * as tf from "@tensorflow/tfjs";

/** What the native backend (tfjs-node's) has beyond others: it runs any of TensorFlow's operations by name. */
export interface NativeBackend {
  binding: Record<
    "TF_ATTR_STRING" | "TF_ATTR_INT" | "TF_ATTR_FLOAT" | "TF_ATTR_BOOL" | "TF_ATTR_TYPE" | "TF_ATTR_SHAPE" | "TF_FLOAT",
    number
  >;
  executeSingleOutput(name: string, attributes: OperationAttribute[], inputs: tf.TensorInfo[]): tf.Tensor;
  executeMultipleOutputs(
    name: string,
    attributes: OperationAttribute[],
    inputs: tf.TensorInfo[],
    outputs: number,
  ): tf.Tensor[];
  readSync(id: object): Float32Array | Int32Array | Uint8Array;
}

export interface OperationAttribute {
  name: string;
  /** One of the binding's `TF_ATTR_…`. */
  type: number;
  value: unknown;
}

/** The registered backend, where it is native TensorFlow. */
export function nativeBackend(): NativeBackend | undefined {
  const backend: unknown = tf.backend();
  const isNative = typeof backend === "object" && backend !== null && "executeMultipleOutputs" in backend;
  return isNative ? (backend as NativeBackend) : undefined;
}
