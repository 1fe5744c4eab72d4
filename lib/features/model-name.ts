import path from "node:path";

import { expected } from "../errors.js";

/**
 * A model's name as ImageNet-CoG writes it, `<title>_<arch>`, divided at the first underscore.
 *
 * @throws UserError where it has none.
 */
export function modelName(name: string): { title: string; arch: string } {
  const [, title, arch] = /^([^_/\\]+)_([^/\\]+)$/.exec(name) ?? [];
  if (title === undefined || arch === undefined) {
    throw expected("a name such as sup_resnet50", "a model", name, "Title and architecture, joined by an underscore.");
  }
  return { title, arch };
}

/** Where the features of a model are: `root/<title>/<arch>/<dataset>`, with `features_<split>` in it. */
export function featuresFolder(options: { root: string; title: string; arch: string; dataset: string }): string {
  const { root, title, arch, dataset } = options;
  return path.join(root, title, arch, dataset);
}
