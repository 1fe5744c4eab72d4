import { readCheckpoint } from "../../lib/checkpoints/checkpoint.js";
import { resamplePositions, squareGrid } from "../../lib/convert/resample-positions.js";
import type { FloatWeight } from "../../lib/convert/weight.js";
import { goldenPath } from "../golden.js";

async function grids() {
  const { tensors } = await readCheckpoint({ file: goldenPath("vits/positions.pth") });
  const table = tensors.get("table")!;
  const weights: FloatWeight = { shape: table.shape, dtype: "float32", read: async () => (await table.read()) as Float32Array }; // prettier-ignore
  return { tensors, weights };
}

const from = { height: 4, width: 4 };

describe("resamplePositions", () => {
  test.each([
    ["timm_5x5", {}],
    ["timm_7x2", {}],
    ["timm_2x3", {}],
    ["timm_9x4", {}],
    ["dino_3x3", { antialias: false, offset: 0.1 }],
    ["dino_5x5", { antialias: false, offset: 0.1 }],
    ["dino_8x8", { antialias: false, offset: 0.1 }],
  ])("%s equals PyTorch's interpolation", async (name, how) => {
    const { tensors, weights } = await grids();
    const [height, width] = name.split("_")[1]!.split("x").map(Number) as [number, number];
    const result = resamplePositions({ weights, from, to: { height, width }, prefixTokens: 1, ...how });
    expect(result.shape).toEqual([1 + height * width, 5]);
    const values = await result.read();
    const wanted = (await tensors.get(`grids/${name}`)!.read()) as Float32Array;
    expect(values).toHaveLength(wanted.length);
    for (const [i, value] of wanted.entries()) expect(values[i]).toBeCloseTo(value, 5);
  });

  test("the grid that there is keeps its numbers", async () => {
    const { weights } = await grids();
    const same = resamplePositions({ weights, from, to: from, prefixTokens: 1 });
    expect(await same.read()).toEqual(await weights.read());
    expect(() => resamplePositions({ weights, from, to: from, prefixTokens: 2 })).toThrow("17 embeddings are not 2");
  });

  test("a grid is square", () => {
    expect([squareGrid(16), squareGrid(15), squareGrid(0), squareGrid(-4)]).toEqual([
      4,
      undefined,
      undefined,
      undefined,
    ]);
  });
});
