import { expect, test } from "vitest";
import { Clock, gapAt, stepFrom } from "../../src/app/clock";
import { Session } from "../../src/model/session";
import { FakeRecording } from "../fake";

function start(spans: [number, number][], state: ConstructorParameters<typeof Session>[0] = {}) {
  const recording = new FakeRecording(spans);
  const session = new Session({ time: recording.first, ticksPerSecond: 4, speed: 1, ...state });
  return { recording, session, clock: new Clock(session, recording) };
}

test("time advances by speed times ticks per second, and not while it is paused", () => {
  const { session, clock } = start([[3, 90]], { speed: 2 });
  clock.advance(0.125);
  expect(session.state.time).toBeCloseTo(4);
  session.change({ playing: false });
  clock.advance(0.125);
  expect(session.state.time).toBeCloseTo(4);
});

test("a suspended page does not skip ahead", () => {
  const { session, clock } = start([[0, 900]]);
  clock.advance(60);
  expect(session.state.time).toBeLessThanOrEqual(1);
});

test("playback stops at the end of a recording, and waits at the end of a growing one", () => {
  const { session, clock, recording } = start([[0, 5]], { time: 4.9 });
  clock.advance(0.2);
  expect(session.state).toMatchObject({ time: 5, playing: false });
  session.change({ playing: true });
  clock.growing = true;
  clock.advance(0.2);
  expect(session.state).toMatchObject({ time: 5, playing: true });
  recording.grow(3);
  clock.advance(0.2);
  expect(session.state.time).toBeCloseTo(5.8);
});

test("playback waits for frames that are not loaded, and skips none", () => {
  const { session, clock, recording } = start([[0, 50]], { time: 7.5, speed: 8 });
  recording.missing.add(9);
  clock.advance(0.2);
  expect(session.state.time).toBe(8);
  expect(clock.waiting).toBe(true);
  clock.advance(0.2);
  expect(session.state.time).toBe(8);
  recording.missing.clear();
  clock.advance(0.125);
  expect(clock.waiting).toBe(false);
  expect(session.state.time).toBeCloseTo(12);
});

test("consecutive gaps take no time", () => {
  // biome-ignore format: a row of pairs
  const spans: [number, number][] = [[2, 5], [20, 21], [40, 60]];
  const { session, clock } = start(spans, { time: 4.5, speed: 4 });
  clock.advance(0.25); // four ticks: 0.5 to tick 5, 1 within the second stretch, 2.5 in the last
  expect(session.state.time).toBeCloseTo(42.5);
});

test("after seeking into a gap, time continues after it", () => {
  // biome-ignore format: a row of pairs
  const { session, clock } = start([[2, 5], [20, 60]], { time: 11 });
  clock.advance(0.25);
  expect(session.state.time).toBeCloseTo(21);
});

test("a moment is between two frames; in a gap it is the frame before the gap", () => {
  // biome-ignore format: a row of pairs
  const { session, clock } = start([[2, 5], [20, 60]], { time: 3.25, playing: false });
  expect(clock.moment()).toMatchObject({ before: { tick: 3 }, after: { tick: 4 }, fraction: 0.25 });
  session.change({ time: 19.5 });
  expect(clock.moment()).toMatchObject({ before: { tick: 5 }, after: { tick: 5 }, fraction: 0 });
  session.change({ time: 5 });
  expect(clock.moment()).toMatchObject({ before: { tick: 5 }, fraction: 0 });
});

test("the last moment is kept while frames are fetched", () => {
  const { session, clock, recording } = start([[0, 60]], { time: 3, playing: false });
  clock.moment();
  recording.missing.add(40);
  session.change({ time: 40 });
  expect(clock.moment()).toMatchObject({ before: { tick: 3 } });
  expect(clock.waiting).toBe(true);
});

test("a live world is shown with a delay: never ahead, faster when behind, skipping when far behind", () => {
  const { session, clock, recording } = start([[0, 100]], { time: 99, live: true });
  clock.growing = true;
  for (let n = 0; n < 200; n++) {
    clock.advance(0.05);
    expect(session.state.time).toBeLessThan(100.001);
  }
  for (let n = 0; n < 3; n++) recording.grow(4);
  const before = session.state.time;
  clock.advance(0.1);
  const calm = session.state.time - before;
  for (let n = 0; n < 6; n++) recording.grow(4);
  clock.advance(0.1);
  const hurried = session.state.time - before - calm;
  expect(hurried).toBeGreaterThan(1.5 * calm);
  recording.grow(4000);
  recording.grow(16); // the burst before the last was an exception
  for (let n = 0; n < 100; n++) recording.grow(16);
  clock.advance(0.1);
  expect(recording.last - session.state.time).toBeLessThan(200);
});

test("gapAt returns the recorded ticks around a gap", () => {
  // biome-ignore format: a row of pairs
  const spans = [[2, 5], [20, 60], [62, 70]] as const;
  expect(gapAt(spans, 5)).toBeNull();
  expect(gapAt(spans, 5.5)).toEqual({ before: 5, after: 20 });
  expect(gapAt(spans, 61)).toEqual({ before: 60, after: 62 });
  expect(gapAt(spans, 1)).toBeNull();
  expect(gapAt(spans, 80)).toBeNull();
  expect(gapAt([], 3)).toBeNull();
});

test("a step goes to the next whole recorded tick, and not beyond the ends", () => {
  // biome-ignore format: a row of pairs
  const recording = new FakeRecording([[2, 5], [20, 60]]);
  expect([2.5, 5, 11, 60].map((time) => stepFrom(recording, time, 1))).toEqual([3, 20, 20, 60]);
  expect([2.5, 2, 20, 11, 3].map((time) => stepFrom(recording, time, -1))).toEqual([2, 2, 5, 5, 2]);
});
