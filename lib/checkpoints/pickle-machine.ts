import { UserError } from "../errors.js";
import type { ByteReader } from "./byte-reader.js";
import { damaged } from "./bytes.js";

/**
 * What a pickle may name. Python's pickles are programs that call whatever they name; here a name is looked up in a
 * closed list, anything else is refused, and what stands in the list are functions of ours that only arrange data.
 */
export interface PickleDialect {
  /** By full name, e.g. `collections.OrderedDict`. */
  classes: Pick<ReadonlyMap<string, PickleClass>, "get">;
  /** What an object stored outside of the pickle is, by its id (torch's storages). */
  persistent?: (id: unknown) => unknown;
}

export interface PickleClass {
  name: string;
  /** What a call gives; undefined for names that may only be mentioned, e.g. `torch.float32`. */
  call?: (args: readonly unknown[]) => unknown;
}

/** An object that takes its state after it was made: Python's __setstate__. */
export abstract class StatefulObject {
  /** @returns whether that is a state of such an object. */
  abstract setState(state: unknown): boolean;
}

/** An object of a class that has attributes and nothing else, e.g. `argparse.Namespace`. */
export class Instance extends StatefulObject {
  readonly attributes = new Map<unknown, unknown>();

  constructor(readonly className: string) {
    super();
  }

  setState(state: unknown): boolean {
    if (!(state instanceof Map)) return false;
    for (const [key, value] of state) this.attributes.set(key, value);
    return true;
  }
}

/** Bounds that no checkpoint comes near, so that a hostile file costs little. */
export const pickleLimits = { operations: 4_000_000, textBytes: 2 ** 28, blobBytes: 2 ** 31, integerBytes: 1 << 10 };

/** The stack machine of pickle: https://github.com/python/cpython/blob/main/Lib/pickletools.py describes the codes. */
export class PickleMachine {
  private stack: unknown[] = [];
  /** Heights of the stack at the marks. */
  private readonly marks: number[] = [];
  /** A map, not an array: a file may number its memo as it likes. */
  private readonly memo = new Map<number, unknown>();
  /** How much calls and objects were given: one long text, given again and again, would fill the memory. */
  private given = 0;

  constructor(
    private readonly reader: ByteReader,
    private readonly dialect: PickleDialect,
  ) {}

  push(value: unknown): void {
    this.stack.push(value);
  }

  pop(): unknown {
    if (this.stack.length <= (this.marks.at(-1) ?? 0)) throw this.damaged("its pickle takes more than it put");
    return this.stack.pop();
  }

  top(): unknown {
    if (this.stack.length <= (this.marks.at(-1) ?? 0)) throw this.damaged("its pickle takes more than it put");
    return this.stack.at(-1);
  }

  /** Python's POP takes a mark where nothing stands above it. */
  drop(): void {
    if (this.marks.at(-1) === this.stack.length) this.marks.pop();
    else this.pop();
  }

  mark(): void {
    this.marks.push(this.stack.length);
  }

  popMark(): unknown[] {
    const height = this.marks.pop();
    if (height === undefined) throw this.damaged("its pickle takes a mark that it did not set");
    return this.stack.splice(height);
  }

  remember(index: number): void {
    this.memo.set(index, this.top());
  }

  rememberNext(): void {
    this.remember(this.memo.size);
  }

  recall(index: number): void {
    if (!this.memo.has(index)) throw this.damaged("its pickle recalls what it did not store");
    this.push(this.memo.get(index));
  }

  find(module: unknown, name: unknown): void {
    this.push(this.class(module, name));
  }

  class(module: unknown, name: unknown): PickleClass {
    if (typeof module !== "string" || typeof name !== "string") throw this.damaged("its pickle names no class");
    const full = `${module}.${name}`;
    return this.dialect.classes.get(full) ?? this.refuse(`it asks for the class ${full}`);
  }

  call(callee: unknown, args: unknown): void {
    if (!this.isClass(callee)) throw this.damaged("its pickle calls what is no class");
    if (!callee.call) return this.refuse(`it calls ${callee.name}`);
    if (!Array.isArray(args)) throw this.damaged(`its pickle calls ${callee.name} with what are no arguments`);
    for (const argument of args as unknown[]) this.give(argument);
    this.push(callee.call(args));
  }

  build(): void {
    const state = this.pop();
    const target = this.top();
    // A module's OrderedDict carries `_metadata`, which says nothing about weights and is left.
    if (target instanceof Map) return;
    this.give(state);
    if (!(target instanceof StatefulObject && target.setState(state))) {
      throw this.damaged("its pickle gives attributes to what has none");
    }
  }

  private give(value: unknown): void {
    this.given += lengthOf(value);
    if (this.given > 4 * this.reader.size + (1 << 20)) throw this.damaged("its pickle copies the same over and over");
  }

  setItems(items: unknown[]): void {
    const target = this.top();
    if (!(target instanceof Map) || items.length % 2 !== 0) throw this.damaged("its pickle fills no dictionary");
    for (let i = 0; i < items.length; i += 2) target.set(items[i], items[i + 1]);
  }

  append(items: unknown[]): void {
    const target = this.top();
    if (!Array.isArray(target)) throw this.damaged("its pickle appends to no list");
    for (const item of items) target.push(item);
  }

  add(items: unknown[]): void {
    const target = this.top();
    if (!(target instanceof Set)) throw this.damaged("its pickle adds to no set");
    for (const item of items) target.add(item);
  }

  persistent(id: unknown): void {
    if (!this.dialect.persistent) throw this.damaged("its pickle refers to objects outside of it");
    this.push(this.dialect.persistent(id));
  }

  dictionary(items: unknown[]): void {
    this.push(new Map());
    this.setItems(items);
  }

  /** A length or index of 8 bytes. */
  long(): number {
    const value = this.reader.view(8).getBigUint64(0, true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.damaged(`its pickle announces ${value} bytes`);
    return Number(value);
  }

  text(length: number): void {
    if (length > pickleLimits.textBytes) throw this.damaged(`its pickle announces a text of ${length} bytes`);
    this.push(utf8.decode(this.reader.bytes(length)));
  }

  /** Python 2 does not tell text from bytes: each byte is a character. */
  byteText(length: number): void {
    if (length > pickleLimits.textBytes) throw this.damaged(`its pickle announces a text of ${length} bytes`);
    this.push(Buffer.from(this.reader.bytes(length)).toString("latin1"));
  }

  bytes(length: number): void {
    if (length > pickleLimits.blobBytes) throw this.damaged(`its pickle announces ${length} bytes`);
    this.push(this.reader.bytes(length).slice());
  }

  /** Two's complement, little-endian. */
  integer(length: number): void {
    if (length < 0 || length > pickleLimits.integerBytes) {
      throw this.damaged(`its pickle announces an integer of ${length} bytes`);
    }
    const bytes = this.reader.bytes(length);
    const hexadecimal = Buffer.from(bytes).reverse().toString("hex");
    this.push(number(length === 0 ? 0n : BigInt.asIntN(8 * length, BigInt(`0x${hexadecimal}`))));
  }

  decimal(): void {
    const line = this.reader.line(pickleLimits.integerBytes);
    if (line === "00" || line === "01") return this.push(line === "01");
    const digits = line.replace(/L$/, "");
    if (!/^[+-]?\d+$/.test(digits)) throw this.damaged("its pickle holds a number without digits");
    this.push(number(BigInt(digits)));
  }

  index(): number {
    const index = Number(this.reader.line(20));
    if (!Number.isSafeInteger(index)) throw this.damaged("its pickle numbers its memo without digits");
    return index;
  }

  private isClass(value: unknown): value is PickleClass {
    const name = (value as PickleClass | null | undefined)?.name;
    return name !== undefined && this.dialect.classes.get(name) === value;
  }

  refuse(finding: string): never {
    throw new UserError(`Expected weights only for ${this.reader.file} but ${finding}`, {
      hint:
        "Nothing of it was executed. If you trust its author, save the weights alone from Python: " +
        "torch.save(model.state_dict(), FILE).",
    });
  }

  damaged(finding: string): UserError {
    return damaged(this.reader.file, finding);
  }
}

const utf8 = new TextDecoder();

function lengthOf(value: unknown): number {
  if (typeof value === "string" || value instanceof Uint8Array || Array.isArray(value)) return value.length;
  return value instanceof Map || value instanceof Set ? value.size : 1;
}

function number(value: bigint): number | bigint {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}
