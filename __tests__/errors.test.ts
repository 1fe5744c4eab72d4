import { asReadError, asWriteError } from "../lib/files.js";
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

test.each([
  ["ELOOP", "Expected an image at a.png but symbolic links lead in a circle there"],
  ["ENAMETOOLONG", 'Expected an image at "a.png" but its path is too long for the system'],
  ["ENOENT", "Expected an image at a.png but there is no such file"],
])("what the file system says (%s) is told in a sentence", (code, sentence) => {
  const error = Object.assign(new Error(code), { code });
  expect(asReadError(error, "a.png", "an image")).toMatchObject({ name: "UserError", message: sentence });
});

test("a new folder on a disk that may only be read", () => {
  // Node says so where a file system refuses the folder above, too.
  const error = Object.assign(new Error("ENOENT"), { code: "ENOENT" });
  expect(asWriteError(error, "new/lock")).toMatchObject({
    message: "Expected to write new/lock but its folder is not there and cannot be made",
  });
});
