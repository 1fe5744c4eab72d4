import { z } from "zod";

/** A place in a backbone where features may be taken. */
const tapSchema = z.strictObject({
  /** The field's name: `conv1`, `res4`, `block10`, `pooled`. */
  name: z.string().min(1),
  /** Node of the GraphModel. */
  node: z.string().min(1),
  /**
   * - `map`: a feature map; shape [height, width, channels] (NHWC without N)
   * - `tokens`: shape [tokens, channels]
   * - `vector`: shape [channels]
   */
  kind: z.enum(["map", "tokens", "vector"]),
  shape: z.array(z.number().int().positive()).min(1).max(3),
  /** How it is pooled where the user does not say: see `pooling.ts`. */
  pooling: z.string(),
  /** Of tokens: how many stand before those of the patches (class token, registers); not told where undefined. */
  prefix_tokens: z.number().int().nonnegative().optional(),
});

/** A number for each tap, by its name. */
const byTap = z.record(z.string(), z.number());

const proofSchema = z.strictObject({
  /**
   * The graph against the checkpoint's tensors in their own layout, with unfolded batch norms, on a random image:
   * how many layers were computed so, and the largest difference at any tap, relative to the tap's largest number.
   */
  folding: z.strictObject({ layers: z.number().int().positive(), error: z.number().nonnegative() }).optional(),
  /** Of a LayersModel: the largest difference at any tap from what its own layers give on a random image, as above. */
  predict: z.strictObject({ layers: z.number().int().positive(), error: z.number().nonnegative() }).optional(),
  /** Cosine similarity to the same network in float32, on a random image, where weights are kept in less. */
  cosine: byTap.optional(),
  /** The largest difference from the original program's features, relative to each tap's largest number. */
  verify: z.strictObject({ tolerance: z.number().positive(), taps: byTap }).optional(),
});

/** `backbone.json`: all that is known of a converted backbone. The format is in docs/file-formats.md. */
export const manifestSchema = z.strictObject({
  format: z.literal(1),
  /** Who trained it and how, e.g. `mocov2`. With `arch` it names the backbone in folders and tables. */
  title: z.string().min(1),
  /** Architecture, e.g. `resnet50`. */
  arch: z.string().min(1),
  input: z.strictObject({
    /** Placeholder of the GraphModel; takes [batch, height, width, 3] float32. */
    node: z.string().min(1),
    height: z.number().int().positive(),
    width: z.number().int().positive(),
    /** Whether the graph takes a batch of any size; 1 where it was written for single images. */
    batch: z.union([z.literal("any"), z.number().int().positive()]).default("any"),
  }),
  /** What is done to an image before it enters, in the language of `lib/images/transform.ts`. */
  transform: z.string().min(1),
  taps: z.array(tapSchema).min(1),
  source: z.strictObject({
    /** File, package or URL that the weights came from. */
    checkpoint: z.string(),
    sha256: z.string().optional(),
    licence: z.string().optional(),
  }),
  /** Of the weights in their files; `quantized` where they are kept in another way. */
  precision: z.enum(["float32", "float16", "uint8", "quantized"]),
  /** Trainable numbers in the backbone (batch norm folded in or not), and multiply-adds × 2 for one image. */
  parameters: z.number().int().nonnegative().optional(),
  flops: z.number().nonnegative().optional(),
  /** What the checkpoint does not tell of its network and was assumed when it was converted, a sentence each. */
  assumptions: z.array(z.string()).optional(),
  /** What was checked when the checkpoint was converted. */
  proof: proofSchema.optional(),
});

export type BackboneManifest = z.infer<typeof manifestSchema>;
export type Tap = z.infer<typeof tapSchema>;
