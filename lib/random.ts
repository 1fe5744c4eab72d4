import seedrandom from "seedrandom";

/**
 * A stream of random numbers from a seed. The only source of chance in the toolkit: TensorFlow's own generators differ
 * between backends, so every split, order, initial weight and augmentation is drawn here, and a seed gives the same
 * numbers on each.
 */
export interface Random {
  /** Uniform in [0, 1), 32 bits of resolution. */
  uniform(): number;
  /** Uniform among 0 … bound − 1. */
  integer(bound: number): number;
  /** Standard normal. */
  normal(): number;
  /** 0 … n − 1 in random order (Fisher and Yates). */
  permutation(n: number): Uint32Array;
}

/**
 * The stream of one purpose, independent of the streams of other purposes of the same seed.
 *
 * @param seed the user's seed.
 * @param purpose what the numbers are for, and its coordinates, e.g. `"order", epoch`. One that draws more or fewer
 * numbers than before does not move the others.
 */
export function random(seed: number | string, ...purpose: (string | number)[]): Random {
  const generator = seedrandom.alea([seed, ...purpose].join("/"));
  const uniform = () => generator();
  const integer = (bound: number) => Math.floor(generator.double() * bound);
  return {
    uniform,
    integer,
    normal: () => Math.sqrt(-2 * Math.log(1 - generator.double())) * Math.cos(2 * Math.PI * generator.double()),
    permutation: (n) => {
      const order = Uint32Array.from({ length: n }, (_, i) => i);
      for (let i = n - 1; i > 0; i--) {
        const j = integer(i + 1);
        const held = order[i]!;
        order[i] = order[j]!;
        order[j] = held;
      }
      return order;
    },
  };
}
