import { z } from "zod";

import { expected, UserError } from "../errors.js";
import { parseSteps, stepText } from "../images/transform-text.js";
import type { VisslKeys } from "./keys.js";

const size = z.union([z.int().min(1), z.tuple([z.int().min(1)]), z.tuple([z.int().min(1), z.int().min(1)])]);
const range = z.tuple([z.number(), z.number()]);
const triple = z.tuple([z.number(), z.number(), z.number()]);
const interpolation = z.int().optional();

/** What each of VISSL's transforms is here; all others are refused by name. */
const transforms: Record<string, { parameters: z.ZodType; text: (parameters: never) => string }> = {
  Resize: step(z.strictObject({ size, interpolation }), (p) => `resize(${shortOrSides(p.size)},${filter(p)})`),
  CenterCrop: step(z.strictObject({ size }), (p) => `center_crop(${sides(p.size)})`),
  RandomCrop: step(
    z.strictObject({ size, padding: z.int().min(0).optional() }),
    (p) => `random_crop(${sides(p.size)},padding=${p.padding ?? 0})`,
  ),
  RandomResizedCrop: step(
    z.strictObject({ size, interpolation, scale: range.optional(), ratio: range.optional() }),
    (p) => {
      const between = (name: string, ends?: readonly number[]) => (ends ? `,${name}=${ends.join("..")}` : "");
      return `random_resized_crop(${sides(p.size)},${filter(p)}${between("scale", p.scale)}${between("ratio", p.ratio)})`;
    },
  ),
  RandomHorizontalFlip: step(
    z.strictObject({ p: z.number().min(0).max(1).optional() }),
    ({ p = 0.5 }) => `hflip(${p})`,
  ),
  // Pixels become numbers with the normalization, which is always there.
  ToTensor: step(z.strictObject({}), () => ""),
  Normalize: step(
    z.strictObject({ mean: triple, std: triple }),
    ({ mean, std }) => `normalize(mean=${mean.join("/")},std=${std.join("/")})`,
  ),
};

function step<T>(parameters: z.ZodType<T>, text: (parameters: T) => string) {
  return { parameters, text: text as (parameters: never) => string };
}

/**
 * A list of VISSL's transforms as a transform of ours. `MODEL.INPUT_TYPE: bgr` reverses the channels at the end.
 *
 * @throws UserError naming the transform and its place where there is none like it here.
 */
export function visslTransform(keys: VisslKeys, split: "TRAIN" | "TEST"): string {
  const key = `DATA.${split}.TRANSFORMS`;
  const list = keys.get(key, z.array(z.looseObject({ name: z.string() })), "a list of transforms with names");
  const texts = list.map(({ name, ...parameters }) => {
    const transform = Object.hasOwn(transforms, name) ? transforms[name] : undefined;
    if (!transform) {
      throw expected(
        `one of ${Object.keys(transforms).join(", ")}`,
        keys.subject(key),
        name,
        "There is no such step here: leave it out by an override of the whole list.",
      );
    }
    const parsed = transform.parameters.safeParse(parameters);
    if (!parsed.success) throw expected(`the parameters of torchvision's ${name}`, keys.subject(key), parameters);
    return transform.text(parsed.data as never);
  });
  if (!list.some(({ name }) => name === "ToTensor")) {
    throw new UserError(`Expected ToTensor among the transforms of ${keys.subject(key)} but there is none`);
  }
  const input = keys.get("MODEL.INPUT_TYPE", z.enum(["rgb", "bgr"]), "rgb or bgr");
  const steps = texts.filter((text) => text !== "");
  if (!steps.some((text) => text.startsWith("normalize("))) steps.push("normalize(none)");
  if (input === "bgr") steps.push("channels(bgr)");
  return parseSteps(steps.join("|")).map(stepText).filter(Boolean).join("|");
}

/** torchvision: one number is the short side, two are height and width. */
function shortOrSides(value: z.output<typeof size>): string {
  return [value].flat().join("x");
}

function sides(value: z.output<typeof size>): string {
  const [height, width = height] = [value].flat();
  return height === width ? String(height) : `${height}x${width}`;
}

/** Pillow's numbers. */
const filters = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"];

function filter({ interpolation: number = 2 }: { interpolation?: number }): string {
  return filters[number] ?? String(number);
}
