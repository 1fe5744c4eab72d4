import type { ByteReader } from "../byte-reader.js";
import { damaged } from "../bytes.js";

/** One field of a protocol buffer message, as it lies in the file. */
export interface Field {
  number: number;
  /** How it is written: 0 a varint, 1 eight bytes, 2 so many bytes (a text, a message, packed numbers), 5 four bytes. */
  wire: 0 | 1 | 2 | 5;
  /** Of its content in the file, in bytes. */
  start: number;
  length: number;
  /** Of a varint: the number, signed, as far as a double holds it. */
  value: number;
}

/**
 * The fields of the message that ends at byte `end`, from the reader's position on. What the caller does not read is
 * passed over without being read: weights stay in the file.
 *
 * https://protobuf.dev/programming-guides/encoding
 *
 * @throws UserError where a field leaves the message.
 */
export function* fieldsOf(reader: ByteReader, end: number): Iterable<Field> {
  while (reader.position < end) {
    const tag = varint(reader);
    const [number, wire] = [Math.floor(tag / 8), tag % 8];
    if (number < 1 || ![0, 1, 2, 5].includes(wire)) {
      throw damaged(reader.file, `no message's field begins at byte ${reader.position}`);
    }
    let [value, length] = [0, { 0: 0, 1: 8, 5: 4 }[wire] ?? 0];
    if (wire === 0) value = varint(reader);
    if (wire === 2) length = varint(reader);
    const start = reader.position;
    if (length < 0 || start + length > end) {
      throw damaged(reader.file, `the field at byte ${start} ends behind its message's end at ${end}`);
    }
    yield { number, wire: wire as Field["wire"], start, length, value };
    reader.position = start + length;
  }
}

/** The fields of a message inside a message. */
export function inner(reader: ByteReader, field: Field): Iterable<Field> {
  expectBytes(reader, field);
  reader.position = field.start;
  return fieldsOf(reader, field.start + field.length);
}

/** A text; at most a megabyte. */
export function textOf(reader: ByteReader, field: Field): string {
  expectBytes(reader, field);
  if (field.length > 1 << 20) throw damaged(reader.file, `a text in it has ${field.length} bytes`);
  reader.position = field.start;
  return Buffer.from(reader.bytes(field.length)).toString("utf8");
}

/** Whole numbers: one, or many packed. */
export function integersOf(reader: ByteReader, field: Field): number[] {
  if (field.wire === 0) return [field.value];
  expectBytes(reader, field);
  reader.position = field.start;
  const numbers: number[] = [];
  while (reader.position < field.start + field.length) numbers.push(varint(reader));
  return numbers;
}

/** Numbers of single precision: one, or many packed. */
export function floatsOf(reader: ByteReader, field: Field): number[] {
  if (field.wire === 0 || field.wire === 1 || field.length % 4 !== 0) {
    throw damaged(reader.file, `the field at byte ${field.start} holds no numbers of four bytes`);
  }
  reader.position = field.start;
  const view = reader.view(field.length);
  return Array.from({ length: field.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

function expectBytes(reader: ByteReader, field: Field): void {
  if (field.wire !== 2) throw damaged(reader.file, `the field at byte ${field.start} is a number where a part belongs`);
}

function varint(reader: ByteReader): number {
  let [value, scale] = [0, 1];
  for (let count = 1; ; count++) {
    const byte = reader.byte();
    if (count === 8) return longVarint(reader, byte, value);
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
    scale *= 128;
  }
}

/** From the eighth byte on a double is too short; negative numbers have ten. */
function longVarint(reader: ByteReader, eighth: number, low: number): number {
  let value = BigInt(low);
  let byte = eighth;
  for (let count = 8; ; count++) {
    value |= BigInt(byte & 0x7f) << BigInt(7 * (count - 1));
    if (byte < 0x80) return Number(BigInt.asIntN(64, value));
    if (count === 10) throw damaged(reader.file, `the number before byte ${reader.position} does not end`);
    byte = reader.byte();
  }
}
