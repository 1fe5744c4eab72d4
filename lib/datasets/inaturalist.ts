import fs from "node:fs/promises";
import path from "node:path";

import { z } from "zod";

import { UserError } from "../errors.js";
import { asReadError, readJson } from "../files.js";
import type { Dataset } from "./dataset.js";
import { checkClasses, encodeLabels } from "./labels.js";
import { datasetName, fileSplit, uniqueIds } from "./listing.js";
import type { FormatOptions } from "./open.js";

const annotatedImages = z.object({
  images: z.array(z.object({ id: z.number(), file_name: z.string() })),
  annotations: z.array(z.object({ image_id: z.number(), category_id: z.number() })),
  categories: z.array(z.object({ id: z.number(), name: z.string().optional() })),
});

type AnnotatedImages = z.infer<typeof annotatedImages>;

/**
 * The files of an iNaturalist competition (https://github.com/visipedia/inat_comp): `train2018.json` and
 * `val2018.json`, or those of another year, and the images at the paths that they name. Classes are in the order of
 * their ids, so that for 2018 a label is VISSL's: the number of the class folder. The test part has no labels and is
 * not read.
 */
export async function openInaturalist({ spec, place, classes, progress }: FormatOptions): Promise<Dataset> {
  const root = path.resolve(place);
  const files = await annotationFiles(root);
  const read = new Map<string, AnnotatedImages>();
  for (const file of files.values()) read.set(file, await readAnnotations(file));
  const categories = [...read.values()][0]!.categories.sort((a, b) => a.id - b.id);
  const names = namesOf(categories);
  const [firstFile] = files.values();
  checkClasses(classes ?? names, firstFile!);
  const nameOf = new Map(categories.map(({ id }, index) => [id, names[index]!]));
  for (const [file, { categories: others }] of read) checkSameCategories(others, nameOf, file, firstFile!);

  const year = /\d{4}/.exec(path.basename(firstFile!))![0];
  const dataset: Dataset = {
    spec,
    name: datasetName(`inaturalist${year}`),
    classes: classes ?? names,
    multiLabel: false,
    splits: {},
  };
  for (const [name, file] of files) {
    const { images, annotations } = read.get(file)!;
    const where = (index: number) => `image ${images[index]!.id} of ${file}`;
    const paths = images.map((image) => image.file_name);
    dataset.splits[name] = await fileSplit({
      format: "inaturalist",
      name,
      root,
      files: paths,
      ids: uniqueIds(paths, file),
      targets: encodeLabels({
        labels: labelsOf(images, annotations, nameOf, file),
        classes: dataset.classes,
        multiLabel: false,
        where,
      }),
      classes: dataset.classes,
      missing: (index) =>
        new UserError(`Expected ${where(index)} but there is no file ${path.resolve(root, paths[index]!)}`, {
          hint: `Unpack the archive of the images in ${root}.`,
        }),
      progress,
    });
  }
  return dataset;
}

/** The files of one year: `train` and `val`, or one of them. */
async function annotationFiles(root: string): Promise<Map<"train" | "val", string>> {
  const entries = await fs.readdir(root).catch((error: unknown) => {
    throw asReadError(error, root, "a folder of iNaturalist's JSON files");
  });
  const found = entries.flatMap((name) => {
    const [, split, year] = /^(train|val)(\d{4})\.json$/.exec(name) ?? [];
    return split && year ? [{ name, split, year }] : [];
  });
  const years = [...new Set(found.map(({ year }) => year))].sort();
  if (years.length > 1) {
    throw new UserError(`Expected the files of one year in ${root} but received those of ${years.join(" and ")}`, {
      hint: "Put each year into a folder of its own.",
    });
  }
  const files = new Map<"train" | "val", string>();
  for (const split of ["train", "val"] as const) {
    const entry = found.find((one) => one.split === split);
    if (entry) files.set(split, path.join(root, entry.name));
  }
  if (files.size === 0) {
    throw new UserError(`Expected train2018.json or val2018.json in ${root} but there is no such file`, {
      hint: "They come in archives of their own, train2018.json.tar.gz and val2018.json.tar.gz: unpack them there.",
    });
  }
  return files;
}

async function readAnnotations(file: string): Promise<AnnotatedImages> {
  const parsed = annotatedImages.safeParse(await readJson(file, "iNaturalist's annotations"));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new UserError(
      `Expected images, annotations and categories for ${file} but received something else at ` +
        `${issue!.path.join(".") || "the top"}: ${issue!.message}`,
    );
  }
  if (parsed.data.images.length === 0) throw new UserError(`Expected images in ${file} but there are none`);
  return parsed.data;
}

/** Names where there is a different one for each category; else the ids. */
function namesOf(categories: AnnotatedImages["categories"]): string[] {
  const names = categories.map(({ id, name }) => name?.trim() || String(id));
  return new Set(names).size === names.length ? names : categories.map(({ id }) => String(id));
}

function checkSameCategories(
  others: AnnotatedImages["categories"],
  nameOf: Map<number, string>,
  file: string,
  first: string,
): void {
  const ids = new Set(others.map(({ id }) => id));
  if (ids.size !== others.length) throw new UserError(`Expected each category once in ${file} but an id is repeated`);
  if (ids.size === nameOf.size && [...ids].every((id) => nameOf.has(id))) return;
  throw new UserError(`Expected the same categories in ${first} and ${file} but they differ`);
}

function labelsOf(
  images: AnnotatedImages["images"],
  annotations: AnnotatedImages["annotations"],
  nameOf: Map<number, string>,
  file: string,
): string[] {
  const categoryOf = new Map<number, number>();
  for (const { image_id: image, category_id: category } of annotations) {
    if (categoryOf.has(image)) {
      throw new UserError(`Expected one annotation an image in ${file} but image ${image} has several`);
    }
    categoryOf.set(image, category);
  }
  return images.map(({ id }) => {
    const category = categoryOf.get(id);
    if (category === undefined)
      throw new UserError(`Expected an annotation of image ${id} in ${file} but there is none`);
    const name = nameOf.get(category);
    if (name !== undefined) return name;
    throw new UserError(
      `Expected one of ${nameOf.size} categories for image ${id} of ${file} but received ${category}`,
    );
  });
}
