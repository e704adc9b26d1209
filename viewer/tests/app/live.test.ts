import { beforeEach, expect, test } from "vitest";
import { Live, type Entry, type Surroundings } from "../../src/app/live";

/** The server's end of the connection, and a clock that is advanced manually. */
class Fake implements Surroundings {
  opened = 0;
  waits: number[] = [];
  closed = false;
  private receive: (data: unknown) => void = () => undefined;
  private lost: () => void = () => undefined;
  private pending: (() => void) | null = null;

  open(_: string, receive: (data: unknown) => void, lost: () => void): () => void {
    this.opened++;
    this.receive = receive;
    this.lost = lost;
    return () => (this.closed = true);
  }

  later(act: () => void, milliseconds: number): () => void {
    this.waits.push(milliseconds);
    this.pending = act;
    return () => (this.pending = null);
  }

  index(entries: readonly Entry[], size: number): void {
    this.receive(JSON.stringify({ type: "index", entries, size }));
  }

  say(message: unknown): void {
    this.receive(typeof message === "string" ? message : JSON.stringify(message));
  }

  bytes(offset: number, content: readonly number[]): void {
    const data = new Uint8Array(8 + content.length);
    new DataView(data.buffer).setBigUint64(0, BigInt(offset), true);
    data.set(content, 8);
    this.receive(data.buffer);
  }

  drop(): void {
    this.lost();
  }

  /** Advances the clock to the end of the current wait. */
  pass(): void {
    const act = this.pending;
    this.pending = null;
    act?.();
  }

  get isWaiting(): boolean {
    return this.pending !== null;
  }
}

const A: Entry = [100, 50, 0, 16];
const B: Entry = [150, 40, 16, 16];
const C: Entry = [190, 60, 32, 16];

let fake: Fake;
let received: unknown[];
let live: Live;

beforeEach(() => {
  fake = new Fake();
  received = [];
  const note =
    (name: string) =>
    (...what: unknown[]): number =>
      received.push([name, ...what]);
  live = new Live(
    "ws://x/live",
    {
      begin: note("begin"),
      grow: note("grow"),
      bytes: (offset, bytes) => received.push(["bytes", offset, [...bytes]]),
      replaced: note("replaced"),
      next: note("next"),
      complain: note("complain"),
      fail: note("fail"),
      state: note("state"),
    },
    fake,
  );
});

/** Returns all events except states. */
const events = (): unknown[] => received.filter((entry) => (entry as string[])[0] !== "state");
const states = (): unknown[] =>
  received.flatMap((entry) => ((entry as string[])[0] === "state" ? [(entry as string[])[1]] : []));

test("the first index starts a recording, later ones extend it, and bytes go to their offset", () => {
  fake.index([A], 150);
  fake.index([B], 190);
  fake.bytes(150, [7, 8, 9]);
  expect(events()).toEqual([
    ["begin", [A], 150],
    ["grow", [B], 190],
    ["bytes", 150, [7, 8, 9]],
  ]);
  expect(states()).toEqual(["connecting", "live", "live"]);
});

test("offsets beyond 4 GiB are exact", () => {
  fake.index([A], 150);
  fake.bytes(2 ** 33 + 5, [1]);
  expect(events()).toContainEqual(["bytes", 2 ** 33 + 5, [1]]);
});

test("after a lost connection it reconnects and reports only new chunks", () => {
  fake.index([A, B], 190);
  fake.drop();
  expect(states().at(-1)).toBe("connecting");
  fake.pass();
  expect(fake.opened).toBe(2);
  fake.index([A, B, C], 250);
  // biome-ignore format: a row of pairs
  expect(events()).toEqual([["begin", [A, B], 190], ["grow", [C], 250]]);
  expect(states().at(-1)).toBe("live");
});

test("the delay starts at 0.5 s, doubles up to 5 s, and is reset once it has connected", () => {
  for (let n = 0; n < 6; n++) {
    fake.drop();
    fake.pass();
  }
  expect(fake.waits).toEqual([500, 1000, 2000, 4000, 5000, 5000]);
  fake.index([A], 150);
  fake.drop();
  expect(fake.waits.at(-1)).toBe(500);
});

test.each([
  ["whose first entry differs", [[100, 51, 0, 16], B, C] as Entry[], 300],
  ["whose last known entry differs", [A, [150, 40, 17, 16]] as Entry[], 300],
  ["which is shorter", [A] as Entry[], 150],
])("a file %s is another: it begins anew", (_, entries, size) => {
  fake.index([A, B], 190);
  fake.drop();
  fake.pass();
  fake.index(entries, size);
  expect(events()).toEqual([["begin", [A, B], 190], ["replaced"], ["begin", entries, size]]);
});

test("a long index in several messages is not mistaken for another file", () => {
  fake.index([A, B], 250);
  fake.index([C], 250);
  fake.drop();
  fake.pass();
  fake.index([A], 250);
  fake.index([B, C], 250);
  // biome-ignore format: a row of pairs
  expect(events()).toEqual([["begin", [A, B], 250], ["grow", [C], 250]]);
});

test("a run that continues elsewhere ends the connection", () => {
  fake.index([A], 150);
  fake.say({ type: "next", name: "realm-0-900.replay" });
  // Told first: the end takes from a viewer that it watches live, which the next one goes on with.
  // biome-ignore format: a row of pairs
  expect(received.slice(-2)).toEqual([["next", "realm-0-900.replay"], ["state", "ended"]]);
  expect(fake.closed).toBe(true);
});

test("an error before anything else is final", () => {
  fake.say({ type: "error", message: "There is no recording." });
  expect(events()).toEqual([["fail", "There is no recording."]]);
  expect(states().at(-1)).toBe("ended");
  expect(fake.isWaiting).toBe(false);
});

test("an error of a file that was valid is reported, and it retries after a delay", () => {
  fake.index([A], 150);
  fake.say({ type: "error", message: "It was begun anew." });
  fake.drop();
  expect(events().at(-1)).toEqual(["complain", "It was begun anew."]);
  expect(fake.waits).toEqual([5000]);
  fake.pass();
  expect(fake.opened).toBe(2);
});

test("it does not reconnect after it was closed", () => {
  fake.index([A], 150);
  fake.drop();
  live.close();
  expect(fake.isWaiting).toBe(false);
  expect(states().at(-1)).toBe("ended");
});

test("invalid messages are ignored", () => {
  fake.index([A], 150);
  for (const nonsense of ["{", "null", "17", '{"type":"weather"}']) fake.say(nonsense);
  expect(events()).toHaveLength(1);
});
