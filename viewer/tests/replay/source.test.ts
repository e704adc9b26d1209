/** Sources return bytes of files, memory and servers, and report errors of servers. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { ReplayError } from "../../src/replay/error";
import { BlobSource, HttpSource, MemorySource, type Source } from "../../src/replay/source";
import { unpack } from "../../src/replay/unpack";

const BYTES = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) % 256);
let server: Server | undefined;

afterEach(() => server?.close());

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  server = createServer(answer);
  await new Promise<void>((done) => server!.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/a.replay`;
}

/** Responds like a file server. */
function ranges(request: IncomingMessage, response: ServerResponse): void {
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "")!.map(Number) as number[];
  if (from! >= BYTES.length) {
    response.writeHead(416, { "Content-Range": `bytes */${BYTES.length}` }).end();
    return;
  }
  const end = Math.min(to!, BYTES.length - 1);
  response.writeHead(206, { "Content-Range": `bytes ${from}-${end}/${BYTES.length}` });
  response.end(BYTES.subarray(from, end + 1));
}

async function check(source: Source): Promise<void> {
  expect(await source.size()).toBe(1000);
  for (const [offset, length] of [
    [0, 1000],
    [10, 20],
    [990, 100],
    [999, 1],
    [1000, 5],
    [5, 0],
  ] as const) {
    expect(await source.read(offset, length)).toEqual(BYTES.slice(offset, offset + length));
  }
}

describe("sources give the same bytes", () => {
  test("a file", () => check(new BlobSource(new Blob([BYTES]))));
  test("memory", () => check(new MemorySource(BYTES)));
  test("a server", async () => check(new HttpSource(await serve(ranges))));
});

describe("servers that cannot do it are named", () => {
  const cases: [string, (request: IncomingMessage, response: ServerResponse) => void, RegExp][] = [
    ["without ranges", (_, response) => response.end(BYTES), /cannot send parts/],
    ["without the file", (_, response) => response.writeHead(404).end(), /no recording at/],
    ["out of order", (_, response) => response.writeHead(500).end(), /status 500/],
    ["that does not say what it sends", (_, response) => response.writeHead(206).end(BYTES), /Content-Range/],
    [
      "that sends other bytes",
      (_, response) =>
        response.writeHead(206, { "Content-Range": "bytes 5-9/1000" }).end(BYTES.subarray(5, 10)),
      /sent others/,
    ],
    [
      "that breaks off",
      (_, response) => {
        response.writeHead(206, { "Content-Range": "bytes 0-9/1000", "Content-Length": "10" });
        response.write(BYTES.subarray(0, 5), () => response.destroy());
      },
      /closed the connection/,
    ],
  ];
  test.each(cases)("%s", async (_, answer, message) => {
    const source = new HttpSource(await serve(answer));
    const failure = await source.read(0, 10).catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(ReplayError);
    expect((failure as Error).message).toMatch(message);
  });

  test("that is not there", async () => {
    const url = await serve(ranges);
    await new Promise((done) => server!.close(done));
    await expect(new HttpSource(url).size()).rejects.toThrow(/cannot be reached/);
  });
});

test("data that is not gzip is an error", async () => {
  await expect(unpack(BYTES, 10, "It")).rejects.toThrow(/It is damaged/);
  await expect(unpack(new Uint8Array(0), 10, "It")).rejects.toThrow(ReplayError);
});
