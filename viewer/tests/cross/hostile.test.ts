/** Any file opens up to its last whole chunk or throws a ReplayError, and takes little memory. */
import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { ReplayError } from "../../src/replay/error";
import { Recording } from "../../src/replay/recording";
import { MemorySource, type Source } from "../../src/replay/source";
import { bytesOf, FOLDER } from "./fixtures";

const MIB = 1 << 20;

interface Place {
  readonly type: string;
  readonly offset: number;
  readonly end: number;
}

/** Returns the chunks of a valid file. */
function chunksOf(bytes: Uint8Array): Place[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const places: Place[] = [];
  for (let offset = 16; offset < bytes.length; ) {
    const type = String.fromCharCode(...bytes.subarray(offset, offset + 4));
    const end = offset + 24 + view.getUint32(offset + 4, true);
    places.push({ type, offset, end });
    offset = end;
  }
  return places;
}

/** Returns a file with some 32-bit numbers of one chunk's header replaced. */
function lying(bytes: Uint8Array, place: Place, fields: Readonly<Record<number, number>>): Uint8Array {
  const copy = bytes.slice();
  for (const [at, number] of Object.entries(fields)) {
    new DataView(copy.buffer).setUint32(place.offset + Number(at), number, true);
  }
  return copy;
}

/** Returns a file with the payload of a chunk replaced, and its lengths adjusted. */
function replaced(bytes: Uint8Array, place: Place, payload: Uint8Array, raw = payload.length): Uint8Array {
  const stored = gzipSync(payload);
  const head = bytes.slice(place.offset, place.offset + 24);
  const view = new DataView(head.buffer);
  view.setUint32(4, stored.length, true);
  view.setUint32(8, raw, true);
  return concat(bytes.subarray(0, place.offset), head, stored, bytes.subarray(place.end));
}

function concat(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Opens and reads everything. Returns what was read, or the ReplayError; rethrows other errors. */
async function tryAll(source: Source): Promise<number | ReplayError> {
  try {
    const recording = await Recording.open(source, { cacheBytes: MIB });
    let ticks = 0;
    for (const { first } of recording.entries) {
      ticks += (await recording.load(first)).usedUp.length > 0 ? 1 : 0;
    }
    recording.close();
    return ticks;
  } catch (thrown) {
    if (thrown instanceof ReplayError) return thrown;
    throw thrown;
  }
}

const all = (bytes: Uint8Array) => tryAll(new MemorySource(bytes));

/** Returns the peak increase in memory during an action, in MiB. */
async function growth(what: () => Promise<unknown>): Promise<number> {
  const held = () => process.memoryUsage().rss / MIB;
  const before = held();
  let peak = before;
  const timer = setInterval(() => (peak = Math.max(peak, held())), 2);
  await what();
  clearInterval(timer);
  return Math.max(peak, held()) - before;
}

/** A generator with a fixed seed. */
function generator(seed: number): () => number {
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
}

describe.runIf(FOLDER)("a file that is damaged", { timeout: 60_000 }, () => {
  const bytes = FOLDER ? bytesOf("tiny") : new Uint8Array(0);
  const places = chunksOf(bytes);
  const frames = places.filter(({ type }) => type === "FRAM");
  const [head, tile] = [places[0]!, places[1]!];

  test("a file truncated anywhere is readable up to the last whole chunk", async () => {
    for (let length = 0; length < bytes.length; length++) {
      const found = await all(bytes.subarray(0, length));
      if (length < tile?.end) expect(found, `${length}`).toBeInstanceOf(ReplayError);
      else expect(found, `${length}`).toBe(frames.filter(({ end }) => end <= length).length);
    }
  });

  test("every byte inverted, and many at random", async () => {
    const random = generator(1);
    let errors = 0;
    for (let at = 0; at < bytes.length; at++) {
      const copy = bytes.slice();
      copy[at]! ^= 1 << Math.floor(random() * 8);
      if ((await all(copy)) instanceof ReplayError) errors++;
    }
    // Not in bytes that are not read, such as the time in a gzip member's header.
    expect(errors).toBeGreaterThan(0.9 * bytes.length);
    for (let i = 0; i < 300; i++) {
      const copy = bytes.slice();
      for (let n = 0; n < 8; n++) copy[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      await all(copy);
    }
  });

  test("payloads of the right length with random contents", async () => {
    const random = generator(2);
    let errors = 0;
    for (let i = 0; i < 200; i++) {
      const place = frames[i % frames.length]!;
      const payload = new Uint8Array(gunzipSync(bytes.subarray(place.offset + 24, place.end)));
      for (let n = 0; n < 1 + (i % 40); n++)
        payload[Math.floor(random() * payload.length)] = Math.floor(random() * 256);
      if ((await all(replaced(bytes, place, payload))) instanceof ReplayError) errors++;
    }
    expect(errors).toBeGreaterThan(20);
  });

  test("headers with impossible values", async () => {
    const text = gunzipSync(bytes.subarray(head?.offset + 24, head?.end)).toString();
    const description = JSON.parse(text) as Record<string, unknown>;
    const values: unknown[] = [
      null,
      -1,
      0,
      0.5,
      2 ** 31,
      1e300,
      "x",
      "9".repeat(99),
      [],
      {},
      [[]],
      true,
      "__proto__",
    ];
    for (const field of Object.keys(description)) {
      if (field === "config") continue;
      for (const value of [undefined, ...values]) {
        const payload = Buffer.from(JSON.stringify({ ...description, [field]: value }));
        await all(replaced(bytes, head, payload));
      }
      // Recordings of earlier versions have no systems.
      if (field === "systems") continue;
      const without = Buffer.from(JSON.stringify({ ...description, [field]: undefined }));
      expect(await all(replaced(bytes, head, without)), field).toBeInstanceOf(ReplayError);
    }
    for (const junk of ["", "[]", "null", "[".repeat(1e6), '{"format":', "\uD800", "7"]) {
      expect(await all(replaced(bytes, head, Buffer.from(junk)))).toBeInstanceOf(ReplayError);
    }
    const columns = description["columns"] as Record<string, unknown>[];
    for (let i = 0; i < columns.length; i++) {
      for (const [key, value] of [
        ["type", "f64"],
        ["of", "tiles"],
        ["width", 0],
        ["width", 4097],
        ["scale", "1"],
        ["delta", 1],
      ]) {
        const wrong = columns.map((column, j) => (i === j ? { ...column, [key as string]: value } : column));
        const payload = Buffer.from(JSON.stringify({ ...description, columns: wrong }));
        expect(await all(replaced(bytes, head, payload))).toBeInstanceOf(ReplayError);
      }
    }
    // An unknown column is not an error, wherever it is; its bytes are skipped.
    const sound = await Recording.open(new MemorySource(bytes));
    const known = await sound.load(sound.first);
    const more = [{ name: "mood", type: "i16", of: "realm", width: 3, delta: true, scale: 0.5 }, ...columns];
    const place = frames[0]!;
    const length = place.end - place.offset;
    const payload = gunzipSync(bytes.subarray(place.offset + 24, place.end));
    const file = concat(
      replaced(
        bytes.subarray(0, head.end),
        head,
        Buffer.from(JSON.stringify({ ...description, columns: more })),
      ),
      bytes.subarray(head.end, tile.end),
      replaced(
        bytes.subarray(place.offset, place.end),
        { ...place, offset: 0, end: length },
        concat(Buffer.from([1, 2, 3, 0, 1, 255]), payload),
      ),
    );
    const frame = await (await Recording.open(new MemorySource(file))).load(0);
    expect([...frame.column("mood")!]).toEqual([1, 258, -253]);
    for (const { name } of columns) {
      expect([...frame.column(name as string)!]).toEqual([...known.column(name as string)!]);
    }
  });

  test("wrong sizes are errors, and take no memory", async () => {
    const last = frames.at(-1)!;
    const lies: Uint8Array[] = [];
    for (const place of [head, tile, frames[0]!, last]) {
      for (const raw of [0, 1, 0x0fffffff, 0xffffffff]) lies.push(lying(bytes, place, { 8: raw }));
      lies.push(
        lying(bytes, place, { 4: 0xffffffff }),
        lying(bytes, place, { 8: 0xffffffff, 4: 0xffffffff }),
      );
    }
    for (const ticks of [0, 2, 4097, 0xffffffff]) lies.push(lying(bytes, last, { 12: ticks }));
    lies.push(lying(bytes, last, { 12: 1, 20: 0xffffffff }), lying(bytes, last, { 16: 0 }));
    const grown = await growth(async () => {
      for (const [i, lie] of lies.entries()) expect(await all(lie), `lie ${i}`).toBeInstanceOf(ReplayError);
    });
    expect(grown).toBeLessThan(100);
    // A chunk whose length exceeds the file is still being written.
    expect(await all(lying(bytes, last, { 4: 0x0fffffff }))).toBe(frames.length - 1);
  });

  test("decompression bombs take little memory", async () => {
    // 256 MiB of zeros in 256 KiB, with a claimed size that is much smaller, and with the true one.
    const bomb = gzipSync(new Uint8Array(256 * MIB));
    const place = frames[0]!;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    for (const raw of [
      view.getUint32(place.offset + 8, true),
      8 * MIB + (view.getUint32(place.offset + 8, true) % 4),
    ]) {
      const file = replaced(bytes, place, new Uint8Array(0), raw);
      const header = file.slice(place.offset, place.offset + 24);
      new DataView(header.buffer).setUint32(4, bomb.length, true);
      const armed = concat(bytes.subarray(0, place.offset), header, bomb, bytes.subarray(place.end));
      let found: unknown;
      const grown = await growth(async () => (found = await all(armed)));
      expect(found).toBeInstanceOf(ReplayError);
      expect(grown).toBeLessThan(100);
    }
  });

  test("a huge map and a huge number of ticks in a few bytes are processed one by one", async () => {
    const description = JSON.parse(
      gunzipSync(bytes.subarray(head.offset + 24, head.end)).toString(),
    ) as object;
    const columns = (description as { columns: { of: string }[] }).columns;
    const tiny = {
      ...description,
      height: 8192,
      width: 8192,
      agents: 1,
      entities: 1,
      populations: 1,
      columns,
    };
    const perTick = 4 * 3 + 2 * 6 + 2 + 3; // bytes of the one entity
    const raw = 4096 * (perTick + 4) + 8192 * 1024;
    const chunk = (type: string, payload: Uint8Array, ticks: number): Uint8Array => {
      const header = Buffer.alloc(24);
      header.write(type, 0, "ascii");
      const stored = gzipSync(payload);
      header.writeUInt32LE(stored.length, 4);
      header.writeUInt32LE(payload.length, 8);
      header.writeUInt32LE(ticks, 12);
      return concat(header, stored);
    };
    const file = concat(
      bytes.subarray(0, 16),
      chunk("HEAD", Buffer.from(JSON.stringify(tiny)), 0),
      chunk("TILE", new Uint8Array(8192 * 8192), 0),
      chunk("FRAM", new Uint8Array(raw), 4096),
    );
    const grown = await growth(async () => {
      const recording = await Recording.open(new MemorySource(file));
      for (let tick = 0; tick < 4096; tick += 256)
        expect((await recording.load(tick)).usedUp.length).toBe(1 << 23);
    });
    expect(grown).toBeLessThan(400);
  });
});
