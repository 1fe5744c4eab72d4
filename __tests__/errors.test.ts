import { didYouMean, expected, nearest, show } from "../lib/errors.js";

describe("errors", () => {
  test("say what was expected, where, and what came", () => {
    expect(expected("a number in [0, 1)", "--val-fraction", 1.5).message).toBe(
      "Expected a number in [0, 1) for --val-fraction but received 1.5",
    );
    expect(show(undefined)).toBe("nothing");
    expect(show("x".repeat(200))).toHaveLength(80);
  });

  test("offer the nearest names first, and all names where none is near", () => {
    expect(nearest("blok4", ["block4", "block10", "features"])[0]).toBe("block4");
    expect(didYouMean("res", ["res4", "res5"])).toBe("Did you mean res4 or res5?");
    expect(didYouMean("zzzzzz", ["res4", "res5"])).toBe("There is res4, res5.");
  });
});
