import { UserError } from "../errors.js";
import type { HeadSpec } from "./head.js";

/**
 * Refuses a head whose loss is no function of its weights alone, taken image by image: dropout is drawn, and the
 * statistics of a batch norm behind a trained layer are those of all images at once.
 *
 * @throws UserError
 */
export function checkFullBatch({ name, hidden }: Pick<HeadSpec, "name" | "hidden">): void {
  if (!hidden.some(({ batchNorm, dropout }) => batchNorm || dropout > 0)) return;
  throw new UserError(`Expected a head without hidden batch norm and dropout for lbfgs but received ${name}`, {
    hint: "Train it with another --optimizer. A batch norm in front of the head is possible.",
  });
}
