import type { random } from "../../lib/random.js";
import { unpacked, zipArchive } from "./zip-archive.js";

type Chance = ReturnType<typeof random>;

/** Numbers that lengths and offsets go wrong at. */
const lengths = [0n, 1n, 2n ** 15n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 40n, 2n ** 53n, 2n ** 64n - 1n];

/** One to eight flipped bits, changed bytes, a changed length, or a piece cut off, taken out, repeated or put elsewhere. */
export function mutated(original: Buffer, chance: Chance): Buffer {
  if (original.length === 0) return original;
  const at = chance.integer(original.length);
  const to = at + chance.integer(Math.min(64, original.length - at));
  const piece = original.subarray(at, to);
  const copy = Buffer.from(original);
  switch (chance.integer(8)) {
    case 0:
      return original.subarray(0, at);
    case 1:
      return Buffer.concat([original.subarray(0, at), original.subarray(to)]);
    case 2:
      return Buffer.concat([original.subarray(0, to), original.subarray(at)]);
    case 3: {
      const place = chance.integer(original.length);
      return Buffer.concat([original.subarray(0, place), piece, original.subarray(place)]);
    }
    case 4:
    case 5: {
      const field = Buffer.alloc(8);
      field.writeBigUInt64LE(lengths[chance.integer(lengths.length)]!);
      field.copy(copy, at, 0, 2 ** chance.integer(4));
      return copy;
    }
    case 6:
      for (let i = chance.integer(8); i >= 0; i--) copy[chance.integer(copy.length)]! ^= 1 << chance.integer(8);
      return copy;
    default:
      for (let i = chance.integer(4); i >= 0; i--) copy[chance.integer(copy.length)] = chance.integer(256);
      return copy;
  }
}

/** An archive with one of its files changed and the checksums made anew, so that what is inside is read. */
export function mutatedInside(archive: Buffer, chance: Chance): Buffer {
  const files = unpacked(archive);
  const chosen = chance.integer(2) === 0 ? files.findIndex(({ name }) => name.endsWith(".pkl")) : -1;
  const at = chosen >= 0 ? chosen : chance.integer(files.length);
  return zipArchive(
    files.map((file, i) => (i === at ? { ...file, content: mutated(Buffer.from(file.content), chance) } : file)),
  );
}
