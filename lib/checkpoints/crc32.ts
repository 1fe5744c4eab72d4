/** CRC-32 of zip (reflected polynomial 0xEDB88320), continued from the sum of what came before. */
export function crc32(bytes: Uint8Array, before: number): number {
  let sum = ~before;
  for (let i = 0; i < bytes.length; i++) sum = (sum >>> 8) ^ crcTable[(sum ^ bytes[i]!) & 0xff]!;
  return ~sum >>> 0;
}

const crcTable = Int32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  return sum;
});
