/**
 * Writes protocol buffer messages, the few kinds of field that TensorFlow's graphs need. A message is the
 * concatenation of its fields, so `Buffer.concat([...])` of these makes one.
 */

/** A whole number, a boolean or an enum (wire type 0). 64 bits; negative numbers as two's complement. */
export function integer(field: number, value: number | bigint | boolean): Buffer {
  return Buffer.concat([varint(field << 3), varint(value)]);
}

/** A text, bytes, or a message inside a message (wire type 2). */
export function bytes(field: number, value: string | Uint8Array): Buffer {
  const content = typeof value === "string" ? Buffer.from(value, "utf8") : value;
  return Buffer.concat([varint((field << 3) | 2), varint(content.length), content]);
}

/** A message inside a message, from its fields. */
export function message(field: number, ...fields: Buffer[]): Buffer {
  return bytes(field, Buffer.concat(fields));
}

/** A 32-bit floating-point number (wire type 5). */
export function float(field: number, value: number): Buffer {
  const content = Buffer.alloc(4);
  content.writeFloatLE(value);
  return Buffer.concat([varint((field << 3) | 5), content]);
}

/** One entry of a `map<string, …>` whose value is a message. */
export function entry(field: number, key: string, ...value: Buffer[]): Buffer {
  return message(field, bytes(1, key), message(2, ...value));
}

function varint(value: number | bigint | boolean): Buffer {
  let rest = BigInt.asUintN(64, BigInt(value));
  const written: number[] = [];
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    written.push(rest > 0n ? low | 0x80 : low);
  } while (rest > 0n);
  return Buffer.from(written);
}
