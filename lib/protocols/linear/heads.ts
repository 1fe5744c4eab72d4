import { didYouMean, expected, UserError } from "../../errors.js";
import type { FeatureLayer } from "../../features/source.js";
import type { HeadSpec, HiddenLayer, Initialisation } from "../../heads/head.js";
import type { InputForm } from "../../heads/input.js";

/** What is trained on each layer. */
export interface HeadRequest {
  /** What a record calls it; made from the rest where undefined. */
  name?: string;
  /** Default: raw. */
  input?: InputForm;
  /** Widths of the hidden layers; none where undefined, which makes a linear head. */
  hidden?: number[];
  /** VISSL's way to say the same: from the input to the classes. Both ends are checked. */
  dims?: number[];
  /** Of hidden layers. Default: false. */
  batchNorm?: boolean;
  /** Of hidden layers. Default: true. */
  relu?: boolean;
  /** Of hidden layers, in [0, 1). Default: 0. */
  dropout?: number;
  /** Default: torch. */
  initial?: Initialisation;
  /** Layers that it is trained on; all where undefined. */
  layers?: string[];
}

const prefixes: Record<string, InputForm> = { bn: "batch_norm", plain_bn: "batch_norm_plain", l2: "l2" };
const inputNames: Record<InputForm, string> = { raw: "", l2: "l2_", batch_norm: "bn_", batch_norm_plain: "plain_bn_" };
const form = /^(?:(bn|plain_bn|l2)_)?(?:(fc)|mlp\(([\d\s,]*)\))$/;
/** VISSL's names of linear heads. */
export const visslHeads: Record<string, string> = { mlp: "fc", eval_mlp: "bn_fc" };

/**
 * Reads a head as people write it: `fc`, `bn_fc`, `l2_fc`, `plain_bn_fc`, `mlp(2048)`, `bn_mlp(2048,1024)` (hidden
 * widths, with ReLU); VISSL's `mlp` and `eval_mlp` are `fc` and `bn_fc`.
 *
 * @throws UserError where it is none of them.
 */
export function readHead(text: string): HeadRequest {
  const [, prefix, linear, widths] = form.exec(visslHeads[text] ?? text) ?? [];
  const input = prefix === undefined ? {} : { input: prefixes[prefix]! };
  if (linear !== undefined) return input;
  const hidden = widths?.split(",").map((width) => Number(width.trim()));
  if (!hidden || hidden.some((width) => !(width >= 1))) {
    const known = ["fc", "bn_fc", "l2_fc", "plain_bn_fc", "mlp(2048)", "bn_mlp(2048)"];
    throw expected("a head", "--heads", text, didYouMean(text, known));
  }
  return { ...input, hidden };
}

/**
 * The heads of each layer, in the order of the layers.
 *
 * @param options.classes that there are.
 * @throws UserError where a head names a layer that is not evaluated, its dims do not fit, or two have one name.
 */
export function headsOf(options: {
  layers: FeatureLayer[];
  heads: (string | HeadRequest)[];
  classes: number;
}): HeadSpec[] {
  const { layers, classes } = options;
  const requests = options.heads.map((head) => (typeof head === "string" ? readHead(head) : head));
  const names = layers.map(({ name }) => name);
  for (const { layers: wanted = [] } of requests) {
    for (const name of wanted) {
      if (!names.includes(name))
        throw expected("one of the layers", "the layers of a head", name, didYouMean(name, names));
    }
  }
  const specs = layers.flatMap((layer) =>
    requests
      .filter((request) => request.layers?.includes(layer.name) ?? true)
      .map((request) => headOf(request, layer, classes)),
  );
  const seen = new Set<string>();
  for (const { layer, name } of specs) {
    const key = `${layer} ${name}`;
    if (seen.has(key))
      throw expected("heads of different names", `the heads of ${layer}`, name, "Give one a name of its own.");
    seen.add(key);
  }
  const without = names.filter((name) => specs.every(({ layer }) => layer !== name));
  if (without.length > 0) {
    throw new UserError(`Expected a head for each layer but ${without.join(", ")} has none`, {
      hint: "Leave the layer out of --layers, or name it among a head's layers.",
    });
  }
  return specs;
}

function headOf(request: HeadRequest, layer: FeatureLayer, classes: number): HeadSpec {
  const { input = "raw", batchNorm = false, relu = true, dropout = 0, initial = "torch" } = request;
  const widths = request.dims ? hiddenOf(request.dims, layer, classes) : (request.hidden ?? []);
  const hidden: HiddenLayer[] = widths.map((width) => ({ width, batchNorm, relu, dropout }));
  return {
    name: request.name ?? nameOf(input, widths),
    layer: layer.name,
    reads: layer.name.split("+"),
    shape: layer.shape,
    input,
    hidden,
    initial,
  };
}

function nameOf(input: InputForm, hidden: number[]): string {
  return inputNames[input] + (hidden.length === 0 ? "fc" : ["mlp", ...hidden].join("-"));
}

/** VISSL's dims, without their ends. */
function hiddenOf(dims: number[], { name, width }: FeatureLayer, classes: number): number[] {
  const subject = `the dims of the head on ${name}`;
  if (dims.length < 2) throw expected("at least input and output", subject, dims);
  if (dims[0] !== width) throw expected(`${width}, the width of the layer, first`, subject, dims);
  if (dims.at(-1) !== classes) throw expected(`${classes}, the number of classes, last`, subject, dims);
  return dims.slice(1, -1);
}

/** The head with hidden layers of another width; a linear head is the same at every width. */
export function withWidth(spec: HeadSpec, width: number | undefined): HeadSpec {
  if (width === undefined) return spec;
  return { ...spec, hidden: spec.hidden.map((layer) => ({ ...layer, width })) };
}
