import { resampleDistances } from "../../lib/convert/relative-positions.js";
import { constant } from "../../lib/convert/weight.js";
import type { FloatWeight } from "../../lib/convert/weight.js";

describe("resampleDistances", () => {
  // torch.nn.functional.interpolate(torch.tensor([[[0., 1., 2.]]]), size=5, mode="linear")
  test("equals PyTorch's linear interpolation", async () => {
    const embeddings = constant([0, 10, 1, 20, 2, 30], "float32", [3, 2]) as FloatWeight;
    const result = resampleDistances(embeddings, 3);
    expect(result.shape).toEqual([5, 2]);
    const values = [...(await result.read())];
    for (const [i, value] of [0, 10, 0.4, 14, 1, 20, 1.6, 26, 2, 30].entries()) expect(values[i]).toBeCloseTo(value, 5);
    expect(resampleDistances(embeddings, 2)).toBe(embeddings);
  });
});
