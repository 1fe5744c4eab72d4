import { TestEnvironment as NodeEnvironment } from "jest-environment-node";

/**
 * Jest runs tests in a realm of its own, where the typed arrays that native addons and worker threads return would fail
 * `instanceof`. The outer constructors are handed in, so that there is one `Float32Array`.
 */
export default class OneRealmEnvironment extends NodeEnvironment {
  override async setup(): Promise<void> {
    // What tests set in process.env is a copy; TensorFlow reads the true one.
    process.env.TF_CPP_MIN_LOG_LEVEL ??= "2";
    await super.setup();
    Object.assign(this.global, {
      ArrayBuffer,
      SharedArrayBuffer,
      Uint8Array,
      Uint8ClampedArray,
      Int8Array,
      Uint16Array,
      Int16Array,
      Uint32Array,
      Int32Array,
      Float32Array,
      Float64Array,
      BigInt64Array,
      BigUint64Array,
      DataView,
      Error,
      TypeError,
    });
  }
}
