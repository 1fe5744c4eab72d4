/**
 * Opcodes of pickle's protocol 2; see Python's `pickletools`. A pickle that is written here calls nothing but what its
 * writer names.
 */
export const op = {
  ...{ protocol: "\x80\x02", emptyDictionary: "}", mark: "(", items: "u", stop: ".", tuple: "t", reduce: "R" },
  ...{ persistent: "Q", false: "\x89", text: "X", integer: "J", long: "\x8a\x08" },
  ...{ emptyList: "]", appends: "e", float: "G" },
} as const;

/** A whole pickle of one value. */
export function pickleOf(value: Buffer): Buffer {
  return Buffer.concat([code(op.protocol), value, code(op.stop)]);
}

export function dictionary(items: [key: string, value: Buffer][]): Buffer {
  const parts = items.flatMap(([key, value]) => [text(key), value]);
  return Buffer.concat([code(op.emptyDictionary + op.mark), ...parts, code(op.items)]);
}

export function list(items: Buffer[]): Buffer {
  return Buffer.concat([code(op.emptyList + op.mark), ...items, code(op.appends)]);
}

export function tuple(parts: Buffer[]): Buffer {
  return Buffer.concat([code(op.mark), ...parts, code(op.tuple)]);
}

/** A class or function by its module and name. */
export function named(module: string, name: string): Buffer {
  return code(`c${module}\n${name}\n`);
}

/** The result of a call, made by whoever reads it. */
export function called(callee: Buffer, parts: Buffer[]): Buffer {
  return Buffer.concat([callee, tuple(parts), code(op.reduce)]);
}

export function text(value: string): Buffer {
  const bytes = Buffer.from(value, "utf8");
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([code(op.text), length, bytes]);
}

/** Bytes, as protocol 2 has them: text of the same code points. */
export function bytes(value: Uint8Array): Buffer {
  return called(named("_codecs", "encode"), [text(Buffer.from(value).toString("latin1")), text("latin1")]);
}

export function integer(value: number): Buffer {
  const short = value < 2 ** 31;
  const encoded = Buffer.alloc(short ? 4 : 8);
  if (short) encoded.writeInt32LE(value);
  else encoded.writeBigInt64LE(BigInt(value));
  return Buffer.concat([code(short ? op.integer : op.long), encoded]);
}

export function float(value: number): Buffer {
  const encoded = Buffer.alloc(8);
  encoded.writeDoubleBE(value);
  return Buffer.concat([code(op.float), encoded]);
}

export function code(opcodes: string): Buffer {
  return Buffer.from(opcodes, "latin1");
}
