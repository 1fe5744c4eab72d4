import type { ByteReader } from "./byte-reader.js";
import { PickleMachine, pickleLimits } from "./pickle-machine.js";
import type { PickleDialect } from "./pickle-machine.js";

/**
 * Reads one pickle, protocols 0 to 5, and executes nothing.
 *
 * @returns dictionaries as `Map`, lists and tuples as arrays, sets as `Set`, `None` as null, bytes as `Uint8Array`,
 * integers as numbers, or as bigint where a number would round them; objects as the dialect makes them. Lists and
 * dictionaries may contain themselves.
 * @throws UserError where the pickle names a class that is not in the dialect, is cut, or is no pickle.
 */
export function readPickle(reader: ByteReader, dialect: PickleDialect): unknown {
  const machine = new PickleMachine(reader, dialect);
  for (let count = 0; count < pickleLimits.operations; count++) {
    const code = reader.byte();
    if (code === stop) return machine.pop();
    const operation = operations.get(code);
    if (!operation) throw machine.damaged(`its pickle has the unknown code ${code} at byte ${reader.position - 1}`);
    operation(machine, reader);
  }
  throw machine.damaged(`its pickle has more than ${pickleLimits.operations} operations`);
}

type Operation = (machine: PickleMachine, reader: ByteReader) => void;

const code = (character: string) => character.charCodeAt(0);
const stop = code(".");

const operations: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  // Framing
  [0x80, (_, reader) => void reader.byte()], // PROTO
  [0x95, (machine) => void machine.long()], // FRAME
  // The stack
  [code("("), (machine) => machine.mark()],
  [code("0"), (machine) => machine.drop()],
  [code("1"), (machine) => void machine.popMark()],
  [code("2"), (machine) => machine.push(machine.top())],
  // Constants and numbers
  [code("N"), (machine) => machine.push(null)],
  [0x88, (machine) => machine.push(true)],
  [0x89, (machine) => machine.push(false)],
  [code("I"), (machine) => machine.decimal()],
  [code("L"), (machine) => machine.decimal()],
  [code("J"), (machine, reader) => machine.push(reader.view(4).getInt32(0, true))],
  [code("K"), (machine, reader) => machine.push(reader.byte())],
  [code("M"), (machine, reader) => machine.push(reader.view(2).getUint16(0, true))],
  [0x8a, (machine, reader) => machine.integer(reader.byte())],
  [0x8b, (machine, reader) => machine.integer(reader.view(4).getInt32(0, true))],
  [code("F"), (machine, reader) => machine.push(Number(reader.line(pickleLimits.integerBytes)))],
  [code("G"), (machine, reader) => machine.push(reader.view(8).getFloat64(0, false))],
  // Texts and bytes
  [code("S"), (machine, reader) => machine.push(unquote(reader.line(pickleLimits.textBytes)))],
  [code("V"), (machine, reader) => machine.push(unescape(reader.line(pickleLimits.textBytes)))],
  [code("T"), (machine, reader) => machine.byteText(reader.view(4).getUint32(0, true))],
  [code("U"), (machine, reader) => machine.byteText(reader.byte())],
  [code("X"), (machine, reader) => machine.text(reader.view(4).getUint32(0, true))],
  [0x8c, (machine, reader) => machine.text(reader.byte())],
  [0x8d, (machine) => machine.text(machine.long())],
  [code("B"), (machine, reader) => machine.bytes(reader.view(4).getUint32(0, true))],
  [code("C"), (machine, reader) => machine.bytes(reader.byte())],
  [0x8e, (machine) => machine.bytes(machine.long())],
  [0x96, (machine) => machine.bytes(machine.long())], // BYTEARRAY8
  // Lists, tuples, dictionaries, sets
  [code("]"), (machine) => machine.push([])],
  [code("l"), (machine) => machine.push(machine.popMark())],
  [code("a"), (machine) => machine.append([machine.pop()])],
  [code("e"), (machine) => machine.append(machine.popMark())],
  [code(")"), (machine) => machine.push([])],
  [code("t"), (machine) => machine.push(machine.popMark())],
  [0x85, (machine) => machine.push([machine.pop()])],
  [0x86, (machine) => machine.push([machine.pop(), machine.pop()].reverse())],
  [0x87, (machine) => machine.push([machine.pop(), machine.pop(), machine.pop()].reverse())],
  [code("}"), (machine) => machine.push(new Map())],
  [code("d"), (machine) => machine.dictionary(machine.popMark())],
  [code("s"), (machine) => machine.setItems([machine.pop(), machine.pop()].reverse())],
  [code("u"), (machine) => machine.setItems(machine.popMark())],
  [0x8f, (machine) => machine.push(new Set())],
  [0x90, (machine) => machine.add(machine.popMark())],
  [0x91, (machine) => machine.push(new Set(machine.popMark()))],
  // The memo
  [code("g"), (machine) => machine.recall(machine.index())],
  [code("h"), (machine, reader) => machine.recall(reader.byte())],
  [code("j"), (machine, reader) => machine.recall(reader.view(4).getUint32(0, true))],
  [code("p"), (machine) => machine.remember(machine.index())],
  [code("q"), (machine, reader) => machine.remember(reader.byte())],
  [code("r"), (machine, reader) => machine.remember(reader.view(4).getUint32(0, true))],
  [0x94, (machine) => machine.rememberNext()],
  // Names and calls
  [code("c"), (machine, reader) => machine.find(reader.line(), reader.line())],
  [
    0x93, // STACK_GLOBAL
    (machine) => {
      const [name, module] = [machine.pop(), machine.pop()];
      machine.find(module, name);
    },
  ],
  [
    code("R"),
    (machine) => {
      const [args, callee] = [machine.pop(), machine.pop()];
      machine.call(callee, args);
    },
  ],
  [
    0x81, // NEWOBJ
    (machine) => {
      const [args, callee] = [machine.pop(), machine.pop()];
      machine.call(callee, args);
    },
  ],
  [
    0x92, // NEWOBJ_EX
    (machine) => {
      const [named, args, callee] = [machine.pop(), machine.pop(), machine.pop()];
      if (!(named instanceof Map) || named.size > 0) return machine.refuse("it calls a class with named arguments");
      machine.call(callee, args);
    },
  ],
  [
    code("i"),
    (machine, reader) => {
      const callee = machine.class(reader.line(), reader.line());
      machine.call(callee, machine.popMark());
    },
  ],
  [
    code("o"),
    (machine) => {
      const [callee, ...args] = machine.popMark();
      machine.call(callee, args);
    },
  ],
  [code("b"), (machine) => machine.build()],
  [0x82, (machine) => machine.refuse("it asks for a class by a number of Python's extension registry")],
  [0x83, (machine) => machine.refuse("it asks for a class by a number of Python's extension registry")],
  [0x84, (machine) => machine.refuse("it asks for a class by a number of Python's extension registry")],
  // Objects stored elsewhere
  [code("P"), (machine, reader) => machine.persistent(reader.line())],
  [code("Q"), (machine) => machine.persistent(machine.pop())],
  [0x97, (machine) => machine.refuse("it holds buffers outside of its pickle")],
]);

/** Protocol 0's text: escapes of code points. */
function unescape(line: string): string {
  return line.replace(/\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})/g, (all, short?: string, long?: string) => {
    const point = parseInt(short ?? long!, 16);
    return point <= 0x10ffff ? String.fromCodePoint(point) : all;
  });
}

/** Python 2's quoted text. */
function unquote(line: string): string {
  return line
    .replace(/^(['"])(.*)\1$/s, "$2")
    .replace(/\\(?:x([0-9a-fA-F]{2})|(.))/gs, (_, hexadecimal?: string, escaped?: string) =>
      hexadecimal
        ? String.fromCharCode(parseInt(hexadecimal, 16))
        : ({ n: "\n", t: "\t", r: "\r" }[escaped!] ?? escaped!),
    );
}
