import fs from "node:fs/promises";

/**
 * Loaded before a program (`node --require`): after ROOM bytes every write to a file fails as it does on a full disk.
 * Small file systems of one's own would need rights that not everybody has who runs the tests.
 */
let room = Number(process.env.ROOM);

const open = fs.open;
fs.open = async (...parameters: Parameters<typeof open>) => {
  const handle = await open(...parameters);
  const takeRoom = (content: unknown) => {
    room -= typeof content === "string" ? Buffer.byteLength(content) : (content as Uint8Array).byteLength;
    if (room < 0) throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
  };
  for (const name of ["write", "writeFile", "appendFile"] as const) {
    const method = handle[name].bind(handle) as (...rest: unknown[]) => Promise<unknown>;
    const limited = async (...rest: unknown[]) => {
      takeRoom(rest[0]);
      return method(...rest);
    };
    Object.assign(handle, { [name]: limited });
  }
  return handle;
};
