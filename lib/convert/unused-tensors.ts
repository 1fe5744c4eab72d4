/** A tensor of a checkpoint that the graph does not hold, and why. */
export interface UnusedTensor {
  name: string;
  reason: string;
}

/** The first that fits counts. Names are without the network's prefix where they stand under it. */
const reasons: [pattern: RegExp, reason: string][] = [
  [/num_batches_tracked$/, "counts the steps of training"],
  [/(^|[./])(optimizers?|optimizer_states?|exp_avg(_sq)?|momentum_buffer)([./]|$)/, "state of the optimizer"],
  [/(^|[./])(lr_schedulers?|scheduler|scaler|amp|grad_scaler)([./]|$)/, "state of the training"],
  [/(^|[./])(queue\d*|queue_ptr|memory_bank)([./]|$)/, "queue of negatives"],
  [
    /(^|[./])(prototypes\d*|center|centers|dino_loss|ibot_patch_loss|criterion|loss|losses)([./]|$)/,
    "part of the loss",
  ],
  [/(^|[./])(logit_scale|logit_bias|temperature|t_prime)$/, "part of the loss"],
  [/(^|[./])(relative_position_index|relative_coords_table|attn_mask|position_ids|freqs_(cos|sin)|inv_freq)$/, "is computed, not trained"], // prettier-ignore
  [/(^|[./])(mask_token)$/, "masks patches in training"],
  [/(^|[./])(decoder\w*)([./]|$)/, "decoder of the pretraining"],
  [/(^|[./])(predictor|prediction_head|online_predictor|pred_mlp)([./]|$)/, "predictor of the pretraining"],
  [/(^|[./])(projector\w*|projection_?(head|mlp)?|proj_head|dino_head|ibot_head|neck|mlp_head|contrastive_head|online_projector)([./]|$)/, "projector of the pretraining"], // prettier-ignore
  [/(^|[./])(fc|head|heads)\.(mlp|layers|last_layer|\d+)[._]/, "projector of the pretraining"],
  [/(^|[./])(fc|_fc|classifier|classification_head|head|heads|head_dist|last_linear|linear|logits|aux_classifier|AuxLogits|linear_head|clf|decoder_pred)\d*\.([\w.]*\.)?(weight|bias|weight_g|weight_v)$/, "classifier"], // prettier-ignore
];

/** Only of tensors outside of the network. */
const othersReasons: [pattern: RegExp, reason: string][] = [
  [/(^|[./])(student|encoder_k|momentum_\w+|target_(network|encoder)|teacher|encoder_q|base_encoder|online_\w+|model_ema|state_dict_ema|ema|target)([./])/, "another network of the same training"], // prettier-ignore
  [/(^|[./])(transformer|text|text_model|textual|token_embedding|text_projection|ln_final|positional_embedding)([./]|$)/, "text encoder"], // prettier-ignore
  [/(^|[./])(prompt_encoder|mask_decoder)([./]|$)/, "not the image encoder"],
];

/** @param prefix of the network in the checkpoint. */
export function reasonUnused(options: { name: string; prefix: string; arch: string }): string {
  const { name, prefix, arch } = options;
  const inside = name.startsWith(prefix);
  const rest = inside ? name.slice(prefix.length) : name;
  const table = inside ? reasons : [...reasons.slice(0, 3), ...othersReasons, ...reasons.slice(3)];
  const found = table.find(([pattern]) => pattern.test(rest));
  if (found) return found[1];
  return inside ? `${arch} has no such tensor` : `does not belong to the network under ${prefix}`;
}
