import { z } from "zod";

import { parsePooling } from "../backbones/pooling.js";
import { expected, messageOf, UserError } from "../errors.js";
import type { HeadRequest } from "../protocols/linear/heads.js";
import type { VisslKeys } from "./keys.js";

const tapsKey = "MODEL.FEATURE_EVAL_SETTINGS.LINEAR_EVAL_FEAT_POOL_OPS_MAP";
const flattenKey = "MODEL.FEATURE_EVAL_SETTINGS.SHOULD_FLATTEN_FEATS";
const headsKey = "MODEL.HEAD.PARAMS";

const dims = z.array(z.int().min(1)).min(2);
const flag = z.boolean().default(false);
const yes = z.literal(true).optional();
const parameters = {
  mlp: z.strictObject({
    dims,
    use_bn: flag,
    use_relu: flag,
    use_dropout: flag,
    use_bias: yes,
    skip_last_layer_relu_bn: yes,
  }),
  eval_mlp: z.strictObject({
    dims,
    in_channels: z.int().min(1),
    use_bn: flag,
    use_relu: flag,
    use_residual: z.literal(false).optional(),
  }),
};

/**
 * Layers and heads: VISSL's pooling map and `HEAD.PARAMS`, the i-th head on the i-th entry.
 *
 * @returns layers with their pooling in our words (`res4:avg_pool(8x8,3,0)`), each once, and one head an entry.
 * @throws UserError for heads of other kinds, parameters that have no like here, and heads that stand one behind the
 * other.
 */
export function visslHeads(keys: VisslKeys): { layers: string[]; heads: HeadRequest[] } {
  const layers = visslLayers(keys);
  const entries = keys.get(
    headsKey,
    z.array(z.tuple([z.string(), z.record(z.string(), z.unknown())])),
    'a list of heads such as ["mlp", {"dims": [2048, 1000]}]',
  );
  if (layers.length === 0) {
    throw keys.refusal(tapsKey, "at least one tap with its pooling", 'For example [["res5avg", ["Identity", []]]].');
  }
  if (entries.length !== layers.length) {
    const hint =
      layers.length === 1
        ? "VISSL runs several heads on one tap one behind the other; write them as one mlp with more dims, or name the tap again for each."
        : "VISSL pairs them in order.";
    const received = `${entries.length} heads`;
    throw expected(`${layers.length}, one a tap of the pooling map,`, keys.subject(headsKey), received, hint);
  }
  const heads = entries.map(([name, given], i) => headOf(keys, { name, given, layer: layers[i]! }));
  return { layers: [...new Set(layers)], heads: withNames(heads) };
}

/** The taps of VISSL's pooling map with their poolings, in our words: `res4:avg_pool(8x8,3,0)`. */
export function visslLayers(keys: VisslKeys): string[] {
  const map = keys.get(
    tapsKey,
    z.array(z.tuple([z.string().min(1), z.tuple([z.string(), z.array(z.unknown())])])),
    'entries such as ["res4", ["AvgPool2d", [[8, 8], 3, 0]]]',
  );
  return map.map(([tap, pooling]) => {
    try {
      return `${tap}:${parsePooling(pooling).text}`;
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      throw new UserError(`${keys.subject(tapsKey)}: ${messageOf(error)}`, { hint: error.hint, cause: error });
    }
  });
}

function headOf(
  keys: VisslKeys,
  { name, given, layer }: { name: string; given: Record<string, unknown>; layer: string },
): HeadRequest {
  const subject = keys.subject(headsKey);
  if (name !== "mlp" && name !== "eval_mlp") {
    throw expected("the heads mlp and eval_mlp", subject, name, "Other heads of VISSL's are not there.");
  }
  const parsed = parameters[name].safeParse(given);
  if (!parsed.success) {
    const key = parsed.error.issues[0]!.path.join(".") || Object.keys(given).join(", ");
    const known = Object.keys(parameters[name].shape).join(", ");
    throw expected(
      `parameters of a ${name} that are there`,
      subject,
      given,
      `It is about ${key}. Known are ${known}; biases always, nothing behind the last layer, and no residual form.`,
    );
  }
  const { dims: sizes, use_bn: batchNorm, use_relu: relu } = parsed.data;
  const head: HeadRequest = { layers: [layer], dims: sizes };
  if (name === "eval_mlp") {
    head.input = "batch_norm";
    if (keys.get(flattenKey, z.boolean(), "true or false") && !isOnePosition(layer)) {
      throw keys.refusal(
        flattenKey,
        "False beside eval_mlp",
        "Flattened first, a map's batch norm would have statistics a number; here it has them a channel, as VISSL's benchmarks.",
      );
    }
  }
  if (sizes.length === 2) return head;
  const dropout = "use_dropout" in parsed.data && parsed.data.use_dropout ? 0.5 : 0;
  return { ...head, batchNorm, relu, dropout };
}

/** Of one position by its own words; an identity may be anything. */
function isOnePosition(layer: string): boolean {
  return layer.endsWith(":adaptive_avg(1x1)") || layer.endsWith(":adaptive_max(1x1)");
}

/** VISSL tells equal heads of one tap apart by their place in a list. */
function withNames(heads: HeadRequest[]): HeadRequest[] {
  const seen = new Map<string, number>();
  return heads.map((head) => {
    const key = JSON.stringify(head);
    const count = (seen.get(key) ?? 0) + 1;
    seen.set(key, count);
    const kind = `${head.input === "batch_norm" ? "bn_" : ""}${["mlp", ...head.dims!.slice(1, -1)].join("-")}`;
    return count === 1 ? head : { ...head, name: `${kind}_${count}` };
  });
}
