import { UserError, show } from "../errors.js";
import { readText } from "../files.js";

/**
 * What an image shows by its annotation (PASCAL VOC's XML): 1 for a class with an instance that is not difficult, −1
 * where all its instances are; other classes are not in the map.
 *
 * @throws UserError where the file is no such annotation.
 */
export async function classesShown(file: string): Promise<Map<string, 1 | -1>> {
  const text = (await readText(file, "an annotation")).replace(/<!--[^]*?-->/g, "");
  if (!/<annotation[\s>]/.test(text) || !/<\/annotation>\s*$/.test(text)) {
    throw new UserError(`Expected an <annotation> for ${file} but received ${show(text)}`);
  }
  const shown = new Map<string, 1 | -1>();
  const objects = text.split(/<object[^>]*>/).slice(1);
  for (const [i, rest] of objects.entries()) {
    const end = rest.indexOf("</object>");
    // Parts of a person have names of their own.
    const object = rest.slice(0, Math.max(end, 0)).replace(/<part>[^]*?<\/part>/g, "");
    const name = /<name>\s*([^<]*?)\s*<\/name>/.exec(object)?.[1];
    const difficult = /<difficult>\s*([^<]*?)\s*<\/difficult>/.exec(object)?.[1] ?? "0";
    if (!name) throw new UserError(`Expected a name for object ${i + 1} of ${file} but there is none`);
    if (difficult !== "0" && difficult !== "1") {
      throw new UserError(
        `Expected 0 or 1 for <difficult> of object ${i + 1} of ${file} but received ${show(difficult)}`,
      );
    }
    if (difficult === "0") shown.set(name, 1);
    else if (!shown.has(name)) shown.set(name, -1);
  }
  return shown;
}
