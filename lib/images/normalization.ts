import type { RgbImage } from "./image.js";

/** How 8-bit samples become a network's numbers: (x / divisor − mean) / std, a channel at a time. */
export interface Normalization {
  /** What a sample is divided by first: 255, or 1 where mean and std are meant for 0 … 255. */
  divisor: 255 | 1;
  mean: readonly number[];
  std: readonly number[];
}

export const normalizations: Record<string, Normalization> = {
  /** torchvision's models, and most of the others. */
  imagenet: { divisor: 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  clip: {
    divisor: 255,
    mean: [0.48145466, 0.4578275, 0.40821073],
    std: [0.26862954, 0.26130258, 0.27577711],
  },
  /** −1 … 1: vision transformers of Google's. */
  half: { divisor: 255, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  /** EfficientNet-Lite. */
  lite: { divisor: 1, mean: [127, 127, 127], std: [128, 128, 128] },
  /** 0 … 255, as the samples are. */
  bytes: { divisor: 1, mean: [0, 0, 0], std: [1, 1, 1] },
  /** 0 … 1. */
  none: { divisor: 255, mean: [0, 0, 0], std: [1, 1, 1] },
};

/** The value of each sample: three tables of 256, in the order of the channels. Shape [3, 256]. */
export function sampleValues({ divisor, mean, std }: Normalization): Float32Array {
  // Each step rounded to single precision, as ToTensor and Normalize do it.
  return Float32Array.from({ length: 3 * 256 }, (_, i) => {
    const channel = i >> 8;
    const centred = Math.fround(Math.fround((i & 255) / divisor) - Math.fround(mean[channel]!));
    return centred / Math.fround(std[channel]!);
  });
}

/** Writes an image's numbers (HWC) to the start of `into`. */
export function normalizeInto(image: RgbImage, values: Float32Array, into: Float32Array): void {
  const { data } = image;
  for (let i = 0; i < data.length; i += 3) {
    into[i] = values[data[i]!]!;
    into[i + 1] = values[256 + data[i + 1]!]!;
    into[i + 2] = values[512 + data[i + 2]!]!;
  }
}
