import { convertSettings } from "../lib/settings/convert.js";
import { prepare } from "./backend.js";
import { command } from "./command.js";

export const convert = command(convertSettings, async (settings, { progress }) => {
  const { device, verify, tolerance, ...options } = settings;
  const { parseTransform } = await import("../lib/images/transform.js");
  if (options.transform !== undefined) parseTransform(options.transform);
  const { convertCheckpoint } = await import("../lib/convert/convert.js");
  const { formatConversion } = await import("../lib/convert/format-conversion.js");
  await prepare({ device }, { progress });
  const converted = await convertCheckpoint({
    ...options,
    ...(verify !== undefined && { verify: { file: verify, tolerance } }),
  });
  return { text: formatConversion(converted), json: converted };
});
