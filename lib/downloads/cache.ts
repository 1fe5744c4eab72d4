import os from "node:os";
import path from "node:path";

/**
 * The folder of what was fetched or built once for all projects of this user: `FROZEN_EVAL_CACHE`, else
 * `$XDG_CACHE_HOME/frozen-eval`, else `~/.cache/frozen-eval`. Everything in it can be deleted; it is made again when
 * it is needed.
 */
export function cacheFolder(): string {
  const { FROZEN_EVAL_CACHE: own, XDG_CACHE_HOME: xdg } = process.env;
  if (own) return path.resolve(own);
  return path.join(xdg && path.isAbsolute(xdg) ? xdg : path.join(os.homedir(), ".cache"), "frozen-eval");
}
