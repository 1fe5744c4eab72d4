import { denseLayers } from "../../lib/heads/evaluated.js";
import { foldedHead } from "../../lib/heads/head.js";
import { mlpGolden } from "./mlp-golden.js";
import { expectClose } from "./train-body.js";

const made = mlpGolden();
const width = made.shape.reduce((a, b) => a * b);

describe("the dense layers of a head in evaluation", () => {
  test.each(made.cases)("score as PyTorch does: $name", ({ final, hidden, form, logits }) => {
    const layers = denseLayers(final, hidden);
    expect(layers).toHaveLength(hidden.length + 1);
    const scores = Array.from({ length: 10 }, (_, i) => {
      let x = made.features.slice(i * width, (i + 1) * width);
      if (form === "l2") x = x.map((value) => value / Math.hypot(...x));
      for (const { weight, bias, relu } of layers) {
        const y = Array.from(bias, (b, c) =>
          x.reduce((sum, value, d) => sum + value * weight[d * bias.length + c]!, b),
        );
        x = relu ? y.map((value) => Math.max(value, 0)) : y;
      }
      return x;
    });
    expectClose(scores.flat(), logits, 2e-5);
  });

  test("of a linear head are its folded matrix", () => {
    const { final } = made.cases.find(({ name }) => name === "linear behind batch norm")!;
    const [{ weight, bias }] = denseLayers(final, []) as [ReturnType<typeof denseLayers>[0]];
    expectClose(weight, foldedHead(final).weight, 1e-7);
    expectClose(bias, foldedHead(final).bias, 1e-7);
  });
});
