import { type Device, prepareBackend } from "../lib/backend/backend.js";

/** A backend that a test runs on. */
export interface TestedBackend {
  device: Exclude<Device, "cuda">;
  /** How far, relative to the largest value, single-precision results may be from the exact ones. */
  tolerance: number;
}

const tested: TestedBackend[] = [
  { device: "native", tolerance: 1e-5 },
  { device: "wasm", tolerance: 1e-5 },
];

/** Why native TensorFlow cannot be had here (`__tests__/run.cjs` finds out), or undefined. */
export const noNative = process.env.FROZEN_EVAL_NO_NATIVE;

/** The same tests on native TensorFlow and on WebAssembly. Where there is no native one, those are skipped. */
export function describeOnBackends(name: string, body: (backend: TestedBackend) => void): void {
  for (const backend of tested) describeOn(backend, name, body);
}

/** Tests of what only native TensorFlow does. */
export function describeOnNative(name: string, body: (backend: TestedBackend) => void): void {
  describeOn(tested[0]!, name, body);
}

function describeOn(backend: TestedBackend, name: string, body: (backend: TestedBackend) => void): void {
  const title = `${name}, on ${backend.device}`;
  if (backend.device === "native" && noNative) {
    describe.skip(`${title} (${noNative})`, () => body(backend));
    return;
  }
  describe(title, () => {
    beforeAll(async () => {
      await prepareBackend({ device: backend.device });
    });
    body(backend);
  });
}
