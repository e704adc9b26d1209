import { expect, test } from "vitest";
import { LiveSource } from "../../src/app/source";
import { MemorySource } from "../../src/replay/source";

const whole = Uint8Array.from({ length: 90 }, (_, k) => k);

function start() {
  const asked: number[] = [];
  const rest = new MemorySource(whole);
  const read = rest.read.bind(rest);
  rest.read = (offset, length) => {
    asked.push(offset);
    return read(offset, length);
  };
  return { asked, source: new LiveSource(rest, 60) };
}

test("pushed bytes are not requested again, all others are", async () => {
  const { asked, source } = start();
  source.push(40, whole.subarray(40, 60));
  expect([...(await source.read(40, 20))]).toEqual([...whole.subarray(40, 60)]);
  expect([...(await source.read(10, 5))]).toEqual([10, 11, 12, 13, 14]);
  expect(asked).toEqual([10]);
  source.grow(90);
  expect(await source.size()).toBe(90);
});

test("a piece of another length than requested is rejected", async () => {
  const { asked, source } = start();
  source.push(40, whole.subarray(40, 50));
  expect((await source.read(40, 20)).length).toBe(20);
  expect(asked).toEqual([40]);
});

test("all requests wait for the newest chunk, which is fetched if it does not arrive", async () => {
  const { asked, source } = start();
  source.newest = 40;
  const both = Promise.all([source.read(40, 20), source.read(40, 20)]);
  source.push(40, whole.subarray(40, 60));
  expect((await both).map(({ length }) => length)).toEqual([20, 20]);
  expect(asked).toEqual([]);
  source.newest = 60;
  expect((await source.read(60, 30)).length).toBe(30);
  expect(asked).toEqual([60]);
});
