import { ByteReader } from "./byte-reader.js";
import { damaged, openCheckpoint } from "./bytes.js";
import type { CheckpointFormat } from "./format.js";
import { NumpyArray, numpyClasses } from "./numpy-pickle.js";
import { readPickle } from "./pickle.js";
import { byName, pythonClasses } from "./python-classes.js";

/**
 * A pickle that torch did not write: NumPy arrays in dictionaries, as Caffe2's, Detectron's and JAX's model zoos have
 * them. The arrays' bytes are a part of the pickle, and are held in memory with it.
 */
export const plainPickle: CheckpointFormat = {
  name: "pickle",
  // Protocols 2 to 5 tell their number; older ones begin with a dictionary or a list.
  recognises: (head) =>
    (head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5) ||
    /^(\([dl]p?\d*\n|[\]}]q|c(collections|numpy[\w.]*|__builtin__)\n)/.test(Buffer.from(head).toString("latin1")),
  read: async (file) => ({
    root: await readPickleFile(file),
    entry: (value) => (value instanceof NumpyArray ? value.entry(file) : undefined),
  }),
};

/**
 * What a pickle of Python's own classes and NumPy's holds: dictionaries as `Map`, lists and tuples as arrays. Nothing
 * in it is executed.
 *
 * @throws UserError where the file is missing or damaged, is no pickle, or asks for code to be run.
 */
export async function readPickleFile(file: string): Promise<unknown> {
  const handle = await openCheckpoint(file);
  try {
    const reader = ByteReader.ofFile(file, handle.fd, (await handle.stat()).size);
    const root = readPickle(reader, { classes: byName([...pythonClasses, ...numpyClasses(file)]) });
    if (reader.remaining > 0) throw damaged(file, "more follows behind the end of its pickle");
    return root;
  } finally {
    await handle.close();
  }
}
