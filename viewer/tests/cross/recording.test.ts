/** What a recording caches and fetches, and how it grows. */
import { describe, expect, test } from "vitest";
import { Recording } from "../../src/replay/recording";
import { Scan } from "../../src/replay/scan";
import { MemorySource, type Bytes, type Source } from "../../src/replay/source";
import { bytesOf, FOLDER, truthOf } from "./fixtures";

/** A growing source that records which bytes are read. */
class Growing implements Source {
  readonly reads: [number, number][] = [];
  broken = false;
  length: number;

  constructor(private readonly bytes: Uint8Array) {
    this.length = bytes.length;
  }

  size(): Promise<number> {
    return Promise.resolve(this.length);
  }

  read(offset: number, length: number): Promise<Bytes> {
    if (this.broken) return Promise.reject(new Error("the line is dead"));
    this.reads.push([offset, length]);
    return Promise.resolve(
      new Uint8Array(this.bytes.subarray(offset, Math.min(offset + length, this.length))),
    );
  }
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((done) => setTimeout(done, 1));
}

describe.runIf(FOLDER)("a recording", () => {
  const open = (source: Source, cacheBytes?: number) =>
    Recording.open(source, cacheBytes === undefined ? {} : { cacheBytes });

  test("a frame that is not in memory is loaded together with those ahead", async () => {
    const source = new Growing(bytesOf("single"));
    const recording = await open(source);
    source.reads.length = 0;
    expect(recording.frame(recording.first)).toBeUndefined();
    await until(() => recording.frame(recording.first) !== undefined);
    expect(recording.frame(recording.first)).toBe(recording.frame(recording.first));
    const offsets = recording.entries.map(({ offset }) => offset);
    await until(() => source.reads.length >= 9);
    expect(source.reads.map(([offset]) => offset)).toEqual(offsets.slice(0, 9));
  });

  test("backward playback fetches earlier frames", async () => {
    const source = new Growing(bytesOf("single"));
    const recording = await open(source);
    source.reads.length = 0;
    recording.frame(recording.last);
    recording.frame(recording.last - 3);
    await until(() => source.reads.length >= 5);
    const wanted = recording.entries.slice(-13, -3).map(({ offset }) => offset);
    const read = source.reads
      .map(([offset]) => offset)
      .filter((offset) => offset < recording.entries.at(-4)!.offset);
    expect(read.every((offset) => wanted.includes(offset))).toBe(true);
    expect(read.length).toBeGreaterThan(2);
  });

  test("with little memory it keeps two chunks, and rereads the others", async () => {
    const source = new Growing(bytesOf("single"));
    const recording = await open(source, 1);
    for (const { first } of recording.entries) await recording.load(first);
    source.reads.length = 0;
    await recording.load(recording.last);
    await recording.load(recording.last - 1);
    expect(source.reads.length).toBe(0);
    await recording.load(recording.last - 2);
    expect(source.reads.length).toBe(1);
    await recording.load(recording.last);
    expect(source.reads.length).toBe(2);
  });

  test("concurrent requests for a chunk read it once", async () => {
    const source = new Growing(bytesOf("chaos"));
    const recording = await open(source);
    source.reads.length = 0;
    await Promise.all([0, 1, 2].map((i) => recording.load(recording.first + i)));
    expect(source.reads.length).toBe(1);
  });

  test("load reports read errors, and can be retried", async () => {
    const source = new Growing(bytesOf("single"));
    const recording = await open(source);
    source.broken = true;
    expect(recording.frame(recording.first)).toBeUndefined();
    await expect(recording.load(recording.first)).rejects.toThrow(/cannot be read.*line is dead/);
    source.broken = false;
    expect((await recording.load(recording.first)).tick).toBe(recording.first);
  });

  test("a recording and its counts grow", async () => {
    const whole = bytesOf("gaps");
    const complete = await open(new MemorySource(whole));
    const source = new Growing(whole);
    source.length = complete.entries[0]!.offset + 3;
    const recording = await open(source);
    const scan = new Scan(recording);
    expect([recording.first, recording.last, recording.entries.length]).toEqual([0, -1, 0]);
    await expect(recording.load(0)).rejects.toThrow(/no frames yet/);
    let news = 0;
    recording.listen(() => news++);
    await recording.refresh();
    expect(news).toBe(0);
    for (const { offset, length } of complete.entries) {
      source.length = offset + length;
      await Promise.all([recording.refresh(), recording.refresh()]);
      await until(() => scan.progress === 1);
    }
    expect(news).toBe(complete.entries.length);
    expect(recording.entries).toEqual(complete.entries);
    expect(recording.spans).toEqual(complete.spans);
    await until(() => scan.series.tick.length === truthOf("gaps").ticks.length);
    expect([...scan.series.tick]).toEqual(truthOf("gaps").ticks.map(({ tick }) => tick));
    scan.close();
  });

  test("an index sent by a server replaces reading the file", async () => {
    const complete = await open(new MemorySource(bytesOf("full")));
    const [first, ...rest] = complete.entries;
    const source = new Growing(bytesOf("full"));
    const recording = await Recording.attach(source, [first!]);
    expect(recording.last).toBe(first!.first + first!.ticks - 1);
    await recording.add([first!, ...rest]); // known chunks are skipped
    expect(recording.entries).toEqual(complete.entries);
    expect((await recording.load(recording.last)).tick).toBe(complete.last);
    const wrong = [
      { ...first!, offset: NaN },
      { ...first!, offset: 1e9, ticks: 5000 },
      { ...first!, offset: 1e9 },
    ];
    for (const entry of wrong) await expect(Recording.attach(source, [first!, entry])).rejects.toThrow();
    const [moved] = [{ ...first!, offset: first!.offset + 1 }];
    await expect((await Recording.attach(source, [moved!])).load(0)).rejects.toThrow(/damaged|invalid/);
  });
});
