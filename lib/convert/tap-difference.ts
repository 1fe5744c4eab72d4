import * as tf from "@tensorflow/tfjs";

/** The largest difference, relative to the largest number of the reference; infinite where one is not finite. */
export async function relativeError(tensor: tf.Tensor, reference: tf.Tensor): Promise<number> {
  const result = tf.tidy(() => tensor.sub(reference).abs().max().div(reference.abs().max().maximum(1e-30)));
  const error = (await result.data())[0]!;
  result.dispose();
  return Number.isFinite(error) ? error : Infinity;
}

/** Of two tensors as vectors, 1 where both hold nothing but zeros. */
export async function cosineSimilarity(tensor: tf.Tensor, other: tf.Tensor): Promise<number> {
  const [a, b] = [await tensor.data(), await other.data()];
  let [product, left, right] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    product += a[i]! * b[i]!;
    left += a[i]! * a[i]!;
    right += b[i]! * b[i]!;
  }
  return left === 0 && right === 0 ? 1 : product / Math.max(Math.sqrt(left * right), Number.MIN_VALUE);
}
