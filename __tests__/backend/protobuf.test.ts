import { bytes, entry, float, integer, message } from "../../lib/backend/protobuf.js";

describe("protobuf", () => {
  // The examples of protobuf.dev's "Encoding", and what Google's own library writes.
  test("fields are written as the specification has them", () => {
    expect(integer(1, 150).toString("hex")).toBe("089601");
    expect(bytes(2, "testing").toString("hex")).toBe("120774657374696e67");
    expect(message(3, integer(1, 150)).toString("hex")).toBe("1a03089601");
    expect(integer(1, -2).toString("hex")).toBe("08feffffffffffffffff01");
    expect(integer(16, true).toString("hex")).toBe("800101");
    expect(integer(1, 2n ** 53n + 1n).toString("hex")).toBe("088180808080808010");
    expect(float(4, 1.5).toString("hex")).toBe("250000c03f");
    expect(entry(5, "a", integer(3, 1)).toString("hex")).toBe("2a070a016112021801");
  });
});
