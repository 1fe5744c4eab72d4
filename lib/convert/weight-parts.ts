import type { FloatWeight } from "./weight.js";

/** Rows of a weight: a part of its first axis. */
export function rowsOf(weight: FloatWeight, from: number, count: number): FloatWeight {
  const [, ...rest] = weight.shape;
  const width = lengthOf(rest);
  return {
    shape: [count, ...rest],
    dtype: "float32",
    read: async () => (await weight.read()).slice(from * width, (from + count) * width),
  };
}

/**
 * A weight that several take their parts of, one after another, and leave as it is: its numbers are read anew only
 * where the memory was wanted for something else meanwhile.
 */
export function readTogether(weight: FloatWeight): FloatWeight {
  let kept: WeakRef<Float32Array> | undefined;
  const read = async () => {
    const values = kept?.deref() ?? (await weight.read());
    kept = new WeakRef(values);
    return values;
  };
  return { shape: weight.shape, dtype: "float32", read };
}

/** Weights below one another, along the first axis. */
export function joinRows(weights: readonly FloatWeight[]): FloatWeight {
  const [, ...rest] = weights[0]!.shape;
  const count = weights.reduce((sum, { shape }) => sum + shape[0]!, 0);
  return derived([count, ...rest], async (values) => {
    let at = 0;
    for (const weight of weights) {
      const part = await weight.read();
      values.set(part, at);
      at += part.length;
    }
  });
}

/** The same numbers in another shape. */
export function reshaped(weight: FloatWeight, shape: readonly number[]): FloatWeight {
  return { ...weight, shape };
}

export function zeros(shape: readonly number[]): FloatWeight {
  return derived(shape, () => Promise.resolve());
}

/** A weight that is computed when it is read: `fill` is given zeros. */
export function derived(shape: readonly number[], fill: (values: Float32Array) => Promise<void>): FloatWeight {
  return {
    shape,
    dtype: "float32",
    read: async () => {
      const values = new Float32Array(lengthOf(shape));
      await fill(values);
      return values;
    },
  };
}

/** matrix · vector + bias for a matrix [out, in] and a vector [in], in double precision. */
export function projected(options: { matrix: FloatWeight; bias?: FloatWeight; vector: FloatWeight }): FloatWeight {
  const { matrix, bias, vector } = options;
  const [out, inner] = matrix.shape as [number, number];
  return derived([out], async (values) => {
    const [m, v, b] = [await matrix.read(), await vector.read(), await bias?.read()];
    for (let row = 0; row < out; row++) {
      let sum = b?.[row] ?? 0;
      for (let i = 0; i < inner; i++) sum += m[row * inner + i]! * v[i]!;
      values[row] = sum;
    }
  });
}

export function lengthOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
