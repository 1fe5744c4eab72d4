import * as tf from "@tensorflow/tfjs";

/**
 * LARS: the gradient of each layer is brought to the size of its weights before SGD with momentum takes it,
 *
 *     q = trust·‖w‖ / (‖∇‖ + λ‖w‖ + ε),   g ← q·(∇ + λ·w),   v ← μ·v + g,   w ← w − η·(g + μ·v)   or   w ← w − η·v
 *
 * This is Apex's LARC with clip = false, which VISSL's `use_larc` runs. As there, weights of zero norm take the plain
 * gradient (q = 1), and those with a gradient of zero norm none at all, not even their decay. The momentum is of g, not
 * of η·g as in the paper, so a changed rate acts on all of it at once.
 *
 * Apex gives biases and batch norm rates of their own norms. Here `squaredNorm` says which entries share a norm; for
 * those that it gives zero (biases, batch norm) q is 1, as VISSL's `lars` has it with `exclude_bias_and_norm`.
 *
 * Sources: You et al. 2017 (arXiv 1708.03888); apex/parallel/LARC.py; VISSL's larc_fsdp.py, which is equal.
 */
export interface Lars {
  momentum: number;
  nesterov: boolean;
  trust: number;
  epsilon: number;
}

export interface LarsParameter {
  value: tf.Tensor;
  /** v. */
  momentum: tf.Tensor;
}

export interface LarsStep {
  parameter: LarsParameter;
  gradient: tf.Tensor;
  /** η, broadcast to the parameter's shape. */
  lr: tf.Tensor;
  /** λ, broadcast to the parameter's shape; undefined where nothing is decayed. */
  decay?: tf.Tensor;
  /** Sums of squares over what shares a norm, broadcast to the parameter's shape. */
  squaredNorm: (tensor: tf.Tensor) => tf.Tensor;
}

/** Weights and momentum after one step. */
export function larsMove({ momentum, nesterov, trust, epsilon }: Lars, step: LarsStep): LarsParameter {
  const { parameter, gradient, lr, decay, squaredNorm } = step;
  const w = parameter.value;
  const ofWeights = tf.sqrt(squaredNorm(w));
  const ofGradient = tf.sqrt(squaredNorm(gradient));
  const size = decay ? tf.add(ofGradient, tf.mul(ofWeights, decay)) : ofGradient;
  const adapted = tf.mul(tf.div(ofWeights, tf.add(size, epsilon)), trust);
  const zero = tf.zerosLike(adapted);
  const moving = tf.where(tf.greater(ofGradient, zero), adapted, zero);
  const q = tf.where(tf.greater(ofWeights, zero), moving, tf.onesLike(adapted));
  const g = tf.mul(decay ? tf.add(gradient, tf.mul(w, decay)) : gradient, q);
  const v = tf.add(tf.mul(parameter.momentum, momentum), g);
  const move = nesterov ? tf.add(g, tf.mul(v, momentum)) : v;
  return { value: tf.sub(w, tf.mul(move, lr)), momentum: v };
}
