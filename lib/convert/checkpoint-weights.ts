import type { Checkpoint } from "../checkpoints/checkpoint.js";
import type { TensorEntry } from "../checkpoints/tensor.js";
import { didYouMean, UserError } from "../errors.js";
import type { BatchNorm } from "./batch-norm.js";
import { reasonUnused, type UnusedTensor } from "./unused-tensors.js";
import type { FloatWeight } from "./weight.js";

/**
 * The tensors of a checkpoint as an architecture asks for them. What is missing or of another shape is an error, never
 * a random number; what nobody asked for is told at the end.
 */
export class CheckpointWeights {
  private readonly taken = new Set<string>();

  /**
   * @param prefix stands before every name: what wrappers of the network put there, e.g. `module.`.
   */
  constructor(
    private readonly checkpoint: Pick<Checkpoint, "file" | "tensors">,
    private readonly arch: string,
    private readonly prefix = "",
  ) {}

  has(name: string): boolean {
    return this.checkpoint.tensors.has(this.prefix + name);
  }

  /**
   * @param shape as PyTorch has it; null where any size will do.
   * @throws UserError where there is no such tensor, it has another shape, or is not of floating point; when it is
   * read, where it is not finite.
   */
  take(name: string, shape: readonly (number | null)[]): FloatWeight {
    const full = this.prefix + name;
    const { file, tensors } = this.checkpoint;
    const entry = tensors.get(full);
    if (!entry) {
      throw new UserError(`Expected the tensor ${full} of ${this.arch} in ${file} but it is not there`, {
        hint: didYouMean(full, tensors.keys()),
      });
    }
    if (shape.length !== entry.shape.length || shape.some((size, i) => size !== null && size !== entry.shape[i])) {
      throw new UserError(
        `Expected the shape [${shape.map((size) => size ?? "any").join(", ")}] of ${this.arch} for ${full} in ${file} ` +
          `but received [${entry.shape.join(", ")}]`,
      );
    }
    if (!entry.dtype.includes("float")) {
      throw new UserError(`Expected floating-point numbers for ${full} in ${file} but received ${entry.dtype}`);
    }
    this.taken.add(full);
    return { shape: entry.shape, dtype: "float32", read: () => this.finite(full, entry) };
  }

  /** PyTorch's BatchNorm of that name: `weight`, `bias`, `running_mean`, `running_var`. */
  batchNorm(name: string, channels: number, epsilon: number): BatchNorm {
    const part = (suffix: string) => this.take(`${name}.${suffix}`, [channels]);
    const variance = part("running_var");
    return {
      scale: part("weight"),
      shift: part("bias"),
      mean: part("running_mean"),
      variance: { ...variance, read: async () => this.notNegative(`${name}.running_var`, await variance.read()) },
      epsilon,
    };
  }

  /** All tensors that were not taken, in the order of the file. */
  unused(): UnusedTensor[] {
    return [...this.checkpoint.tensors.keys()]
      .filter((name) => !this.taken.has(name))
      .map((name) => ({ name, reason: reasonUnused({ name, prefix: this.prefix, arch: this.arch }) }));
  }

  private async finite(name: string, entry: TensorEntry): Promise<Float32Array> {
    const data = await entry.read();
    const values = data instanceof Float32Array ? data : Float32Array.from(data, Number);
    // A loop: findIndex takes twenty times as long.
    for (let i = 0; i < values.length; i++) {
      if (!Number.isFinite(values[i])) {
        throw this.wrong(`finite numbers for ${name}`, `${values[i]} at position ${i}`);
      }
    }
    return values;
  }

  private notNegative(name: string, values: Float32Array): Float32Array {
    const odd = values.find((value) => value < 0);
    if (odd !== undefined) throw this.wrong(`variances for ${this.prefix}${name}`, String(odd));
    return values;
  }

  private wrong(expectation: string, received: string): UserError {
    return new UserError(`Expected ${expectation} in ${this.checkpoint.file} but received ${received}`, {
      hint: "The checkpoint is damaged, or its training diverged. Compare its sha256 with the publisher's.",
    });
  }
}
