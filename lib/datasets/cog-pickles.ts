import { NumpyArray } from "../checkpoints/numpy-pickle.js";
import { readPickleFile } from "../checkpoints/plain-pickle.js";
import { expected, UserError } from "../errors.js";

/** The images of one concept: paths below the folder of all images, some with a slash before them. */
export interface ConceptImages {
  train: string[];
  test: string[];
}

/**
 * The concepts of one level out of `cog_levels_mapping_file.pkl`, a list of a list of concepts for each level.
 *
 * @param options.level from 1.
 * @throws UserError where the pickle holds something else, or no such level.
 */
export async function readLevel({ file, level }: { file: string; level: number }): Promise<string[]> {
  const levels = await readPickleFile(file);
  if (!Array.isArray(levels) || !levels.every(areTexts)) {
    throw otherStructure(file, "a list of concepts for each level");
  }
  const concepts = levels[level - 1];
  if (concepts) return concepts;
  throw expected(`a list for level ${level}`, file, `${levels.length} lists`);
}

/**
 * What is trained and tested on of each concept, out of `cog_concepts_split_file.pkl`: a dictionary from concepts to
 * dictionaries of `train` and `test`, arrays of paths. Of all concepts that it holds, those that are asked for.
 *
 * @throws UserError where the pickle holds something else, or lacks a concept.
 */
export async function readConceptSplits(options: {
  file: string;
  concepts: string[];
}): Promise<Map<string, ConceptImages>> {
  const { file, concepts } = options;
  const splits = await readPickleFile(file);
  const structure = "a dictionary from concepts to their train and test images";
  if (!(splits instanceof Map)) throw otherStructure(file, structure);
  return new Map(
    concepts.map((concept) => {
      const own: unknown = splits.get(concept);
      if (own === undefined) {
        throw new UserError(`Expected the images of concept ${concept} in ${file} but it does not know the concept`, {
          hint: "Both pickles have to be of one release of CoG.",
        });
      }
      const [train, test] = ["train", "test"].map((part) => pathsOf(own instanceof Map ? own.get(part) : undefined));
      if (!train || !test) throw otherStructure(file, structure);
      return [concept, { train, test }];
    }),
  );
}

function pathsOf(value: unknown): string[] | undefined {
  if (value instanceof NumpyArray) return value.texts();
  return areTexts(value) ? value : undefined;
}

function areTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function otherStructure(file: string, wanted: string): UserError {
  return new UserError(`Expected ${wanted} in ${file} but the pickle holds something else`, {
    hint: "Fetch CoG's two pickles again: cog_levels_mapping_file.pkl and cog_concepts_split_file.pkl.",
  });
}
