import { z } from "zod";

import { defineSettings } from "../lib/settings/definition.js";
import { deviceField, threadsField } from "../lib/settings/fields.js";
import { command } from "./command.js";

const definition = defineSettings({
  command: "doctor",
  summary: "Tell which TensorFlow is used here and why, how fast it is, and what would make it faster",
  schema: z.strictObject({ device: deviceField, threads: threadsField }),
  examples: [
    { command: "npx frozen-eval doctor", meaning: "What a run would use." },
    { command: "npx frozen-eval doctor --device cuda", meaning: "Whether the GPU can be used, and if not, why." },
  ],
});

export const doctor = command(definition, async (settings) => {
  const { diagnose, formatDiagnosis } = await import("../lib/backend/doctor.js");
  const diagnosis = await diagnose(settings);
  return { text: formatDiagnosis(diagnosis), json: diagnosis };
});
