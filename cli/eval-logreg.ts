import path from "node:path";

import { logregSettings, type LogregSettings, searchedOf } from "../lib/settings/logreg.js";
import { command } from "./command.js";
import { openFeatureSet } from "./features.js";
import { checkLabels } from "./published.js";

export const evalLogreg = command(logregSettings, async (settings, context) => {
  const { evalLogreg: evaluate } = await import("../lib/protocols/cog/logreg.js");
  const { formatTable } = await import("../lib/results/table.js");
  const { cogTransform } = await import("../lib/protocols/cog/transform.js");
  const features = await openFeatureSet(settings, context, cogTransform);
  try {
    checkLabels(features, context);
    const { title, arch } = features.backbone ?? { title: "own", arch: "features" };
    const shots = settings.shots === undefined ? "" : `-N${settings.shots}`;
    const out = settings.out ?? path.join("runs", `${title}-${arch}-${features.data.name}`, `eval_logreg${shots}`);
    const published = context.protocol ? { protocol: context.protocol } : {};
    const record = await evaluate({
      ...settings,
      ...searchedOf(settings),
      ...context,
      features,
      layers: undefined,
      out,
      settings: { ...published, ...whence(settings) },
    });
    const table = formatTable(record, { kind: "text", color: process.stdout.isTTY });
    return {
      text: `\n${table}\nIn ${out}: result.json, table.md; CoG's files in seed_<seed>/\n`,
      json: record,
    };
  } finally {
    await features.close();
  }
});

/** Where features come from: what of the configuration is not the protocol's. */
function whence({ features, testFeatures, backbone, data, transform, precision, onBadImage }: LogregSettings) {
  if (features !== undefined) return { features, ...(testFeatures !== undefined && { testFeatures }) };
  return { backbone, data, ...(transform !== undefined && { transform }), precision, onBadImage };
}
