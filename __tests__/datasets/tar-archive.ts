/** What an archive ends with. */
export const end = Buffer.alloc(1024);

/** A file in an archive: header, content, zeros up to the next 512 bytes. */
export function member(
  name: string,
  content: string | Uint8Array,
  options: { type?: string; size?: Buffer } = {},
): Buffer {
  const bytes = Buffer.from(content);
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write(bytes.length.toString(8).padStart(11, "0"), 124);
  options.size?.copy(header, 124);
  header.write(options.type ?? "0", 156);
  header.write("ustar\u000000", 257);
  header.write("        ", 148);
  header.write(
    header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, "0") + "\0 ",
    148,
  );
  return Buffer.concat([header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

/** A tar archive of some files, content by name. */
export const archive = (files: Record<string, string | Uint8Array>) =>
  Buffer.concat([...Object.entries(files).map(([name, content]) => member(name, content)), end]);
