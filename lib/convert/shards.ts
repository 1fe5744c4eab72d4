/** Browsers keep files of this size in their cache. */
const shardBytes = 4 * 1024 * 1024;

/** Names of the weight files that so many bytes are cut into, as TensorFlow.js's converter names them. */
export function shardNames(bytes: number): string[] {
  const shards = Math.max(1, Math.ceil(bytes / shardBytes));
  return Array.from({ length: shards }, (_, i) => `group1-shard${i + 1}of${shards}.bin`);
}

/**
 * Weights one after another, cut into files of 4 MB; one weight and one file are held at a time. All files come in one
 * buffer: each is to be written before the next is asked for.
 *
 * @param options.bytes of all weights together.
 * @param options.weights little-endian.
 */
export async function* shardsOf(options: {
  bytes: number;
  weights: AsyncIterable<Uint8Array>;
}): AsyncIterable<Uint8Array> {
  const { bytes, weights } = options;
  const shard = new Uint8Array(Math.min(shardBytes, bytes));
  let filled = 0;
  for await (const weight of weights) {
    for (let at = 0; at < weight.length;) {
      const piece = weight.subarray(at, at + shard.length - filled);
      shard.set(piece, filled);
      at += piece.length;
      filled += piece.length;
      if (filled < shard.length) continue;
      yield shard;
      filled = 0;
    }
  }
  // A graph without weights has a file of none.
  if (filled > 0 || bytes === 0) yield shard.subarray(0, filled);
}
