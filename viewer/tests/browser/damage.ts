import { constants, deflateRawSync } from "node:zlib";

// Damaged and invalid files.

const PREAMBLE = 16;
const CHUNK = 24;

/** Returns the offsets and types of the chunks of a recording. */
export function chunksOf(
  file: Buffer,
): { readonly type: string; readonly at: number; readonly end: number }[] {
  const chunks = [];
  for (let at = PREAMBLE; at < file.length; ) {
    const end = at + CHUNK + file.readUInt32LE(at + 4);
    chunks.push({ type: file.toString("ascii", at, at + 4), at, end });
    at = end;
  }
  return chunks;
}

/** Returns the offset of the n-th chunk of a type. */
function placeOf(file: Buffer, type: string, n = 0): number {
  return chunksOf(file).filter((chunk) => chunk.type === type)[n]!.at;
}

function changed(file: Buffer, act: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(file);
  act(copy);
  return copy;
}

/** Returns the file up to the middle of its n-th chunk of frames. */
export function cutOff(file: Buffer, n: number): Buffer {
  const { at, end } = chunksOf(file).filter(({ type }) => type === "FRAM")[n]!;
  return file.subarray(0, (at + end) >> 1);
}

/** Returns the file with bytes of its n-th chunk of frames inverted. */
export function spoilt(file: Buffer, n: number): Buffer {
  return changed(file, (copy) => {
    const { at, end } = chunksOf(file).filter(({ type }) => type === "FRAM")[n]!;
    const middle = (at + CHUNK + end) >> 1;
    for (let byte = middle; byte < middle + 40; byte++) copy[byte]! ^= 0xff;
  });
}

/** Files that cannot be opened, with the message that the page must show for each. */
export function hopeless(good: Buffer): Readonly<Record<string, readonly [Buffer, RegExp]>> {
  const huge = 0xffffffff;
  const claim = (type: string, field: number, value: number): Buffer =>
    changed(good, (copy) => copy.writeUInt32LE(value, placeOf(good, type, type === "FRAM" ? 1 : 0) + field));
  return {
    empty: [Buffer.alloc(0), /This is not a recording of nmmo-gpu/],
    foreign: [Buffer.from("\x89PNG\r\n\x1a\n".repeat(99), "latin1"), /This is not a recording of nmmo-gpu/],
    newer: [changed(good, (copy) => copy.writeUInt32LE(9, 8)), /format version 9/],
    headless: [good.subarray(0, 200), /has no complete HEAD chunk/],
    "long-header": [claim("HEAD", 8, huge), /invalid length, 4294967295 bytes/],
    "long-store": [claim("HEAD", 4, huge), /invalid length/],
    "long-map": [claim("TILE", 8, huge), /invalid length, 4294967295 bytes/],
    "long-frames": [claim("FRAM", 8, huge - 3), /invalid length, \d{10} bytes/],
    "many-ticks": [claim("FRAM", 12, huge), /invalid number of ticks, 4294967295/],
    backwards: [
      changed(good, (copy) => copy.writeBigUInt64LE(1n, placeOf(good, "FRAM", 1) + 16)),
      /ticks are out of order/,
    ],
    bomb: [bomb(good), /TILE chunk does not have the declared length of \d+ bytes/],
  };
}

/** A map that decompresses to 1 GiB. */
function bomb(good: Buffer): Buffer {
  const header = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
  const zeros = deflateRawSync(Buffer.alloc(16 << 20), { finishFlush: constants.Z_SYNC_FLUSH });
  const payload = Buffer.concat([header, ...Array<Buffer>(64).fill(zeros)]);
  const [, tile] = chunksOf(good);
  const head = Buffer.from(good.subarray(tile!.at, tile!.at + CHUNK));
  head.writeUInt32LE(payload.length, 4);
  return Buffer.concat([good.subarray(0, tile!.at), head, payload, good.subarray(tile!.end)]);
}
