import { z } from "zod";

import { defineSettings } from "../lib/settings/definition.js";
import { command } from "./command.js";

const definition = defineSettings({
  command: "setup",
  summary: "Prepare native TensorFlow for this machine, once for all projects of this user",
  description:
    "Fetches TensorFlow from the Python package index and compiles the binding of @tensorflow/tfjs-node against it; " +
    "a C++ compiler is needed, Python is not. May be stopped and repeated; where all is there, nothing is done. Without it " +
    "everything works too, on WebAssembly, but several times slower.",
  schema: z.strictObject({
    cuda: z.boolean().default(false).describe("Take the TensorFlow for NVIDIA GPUs and its libraries, some 3 GB"),
    force: z.boolean().default(false).describe("Make it again even where it is there"),
    verify: z.boolean().default(false).describe("Compare the digest of every file before what is there is believed"),
  }),
  examples: [
    { command: "npx frozen-eval setup", meaning: "For the processor." },
    { command: "npx frozen-eval setup --cuda", meaning: "For an NVIDIA GPU." },
  ],
});

export const setup = command(definition, async (settings, { progress }) => {
  const { setUpNative } = await import("../lib/backend/setup.js");
  const result = await setUpNative({ ...settings, progress });
  const state = result.built ? "is ready" : "was ready, and nothing was done";
  const text = `Native TensorFlow ${result.tensorflow}${result.cuda ? " with CUDA" : ""} ${state}: ${result.folder}`;
  return { text, json: result };
});
