import path from "node:path";

import { encodeNpy } from "../../features/npy.js";
import { writeFileAtomic } from "../../files.js";
import { spread } from "../../results/record.js";
import { layerFileName } from "../../results/wording.js";
import type { LayerShots, ShotResult } from "./layer.js";
import type { LowShotRun } from "./low-shot-svm.js";

/** Mean over the classes, at each cost. Shape [costs]. */
export function meanAps({ testAp }: ShotResult): number[] {
  return testAp.map((classes) => classes.reduce((sum, ap) => sum + ap, 0) / classes.length);
}

/**
 * VISSL's numbers of a layer, as mean AP over the classes:
 *
 *     <layer>/test_ap_sample<s>_k<k>.npy            float64 [1, costs]
 *     <layer>/test_ap_{mean,min,max,std}.npy        float64 [ks, costs], over the samples
 *
 * The labels of each small training set, `<layer>_sample<s>_k<k>.npy`, are written before it is trained on.
 */
export async function writeLowShotFiles(run: LowShotRun, { layer, shots }: LayerShots): Promise<void> {
  const { out, ks, costs } = run;
  if (out === undefined) return;
  const write = (name: string, values: number[], rows: number) => {
    const file = path.join(out, layerFileName(layer.name), `test_ap_${name}.npy`);
    const data = Float64Array.from(values);
    return writeFileAtomic(file, encodeNpy({ dtype: "float64", shape: [rows, costs.length], data }));
  };
  for (const shot of shots) await write(`sample${shot.sample}_k${shot.k}`, meanAps(shot), 1);
  const statistics: Record<string, (values: number[]) => number> = {
    mean: (values) => spread(values).mean,
    min: (values) => Math.min(...values),
    max: (values) => Math.max(...values),
    std: (values) => spread(values).std,
  };
  for (const [name, of] of Object.entries(statistics)) {
    const values = ks.flatMap((k) => {
      const samples = shots.filter((shot) => shot.k === k).map(meanAps);
      return costs.map((_, i) => of(samples.map((aps) => aps[i]!)));
    });
    await write(name, values, ks.length);
  }
}
