import { z } from "zod";

import { expected } from "../lib/errors.js";
import { writeFileAtomic } from "../lib/files.js";
import { random } from "../lib/random.js";
import { defineSettings } from "../lib/settings/definition.js";
import { command } from "./command.js";

const definition = defineSettings({
  command: "preprocess",
  summary: "Show what a network sees of an image",
  schema: z.strictObject({
    image: z
      .string()
      .min(1)
      .describe("The image file")
      .meta({ positional: true, placeholder: "IMAGE", expected: "an image file" }),
    transform: z
      .string()
      .min(1)
      .default("resize(256,bilinear)|center_crop(224)|normalize(imagenet)")
      .describe("What is done to it, step by step")
      .meta({ placeholder: "STEP|STEP|..." }),
    out: z
      .string()
      .min(1)
      .describe("A .png to look at, or a .npy with the network's numbers [height, width, 3] as they are")
      .meta({ placeholder: "FILE", expected: "a file that ends in .png or .npy" }),
    seed: z.int().min(0).default(0).describe("Seed of random steps"),
  }),
  examples: [
    {
      command: "npx frozen-eval preprocess photo.jpg --out seen.png",
      meaning: "The usual crop of ImageNet, to look at.",
    },
    {
      command:
        'npx frozen-eval preprocess photo.jpg --transform "resize(224x224,bicubic)|normalize(clip)" --out seen.npy',
      meaning: "The very numbers, for Python.",
    },
  ],
  check: ({ out }) => {
    if (!/\.(png|npy)$/.test(out)) throw expected("a file that ends in .png or .npy", "--out", out);
  },
});

export const preprocess = command(definition, async ({ image, transform: text, out, seed }) => {
  const { applyTransform, parseTransform } = await import("../lib/images/transform.js");
  const { previewPng } = await import("../lib/images/write.js");
  const { encodeNpy } = await import("../lib/features/npy.js");
  const transform = parseTransform(text);
  const work = { transform, source: { kind: "file" as const, path: image }, random: random(seed, "preprocess") };
  const seen = await applyTransform(work);
  const shape = [seen.height, seen.width, 3];
  const npy = () => encodeNpy({ dtype: "float32", shape, data: seen.data });
  // Drawn again from the same seed, so that the picture shows the very numbers.
  const png = () => previewPng({ ...work, random: random(seed, "preprocess") });
  await writeFileAtomic(out, out.endsWith(".npy") ? npy() : await png());
  const json = { image, transform: transform.text, shape, out };
  return { text: `${out}: ${shape.join("x")} of ${image} through ${transform.text}`, json };
});
