/** Decompresses gzip with the browser's built-in functions. */
import { ReplayError } from "./error";
import type { Bytes } from "./source";

const MIB = 1 << 20;

/** Maximum compression ratio of Deflate. */
export const MAX_RATIO = 1032;

/**
 * Decompresses one gzip member.
 *
 * A browser inflates its whole input at once, whether or not the result is read, so the input is passed in
 * small pieces: even for malicious data, at most `raw` and about 20 MiB are held.
 *
 * @param raw required length of the result, bytes.
 * @param what subject of a ReplayError's message: the data being decompressed.
 */
export async function unpack(stored: Bytes, raw: number, what: string): Promise<Bytes> {
  const result = new Uint8Array(raw);
  const step = Math.max(1024, Math.floor((raw + 16 * MIB) / MAX_RATIO));
  let fed = 0;
  const feed = new ReadableStream<Bytes>(
    {
      pull(controller): void {
        if (fed < stored.length) controller.enqueue(stored.subarray(fed, (fed += step)));
        else controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  const reader = feed.pipeThrough(new DecompressionStream("gzip")).getReader();
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw new ReplayError(`${what} is damaged. Copy the file from its source again.`);
    });
    if (done) break;
    if (length + value.length > raw) {
      void reader.cancel().catch(() => undefined);
      length = Infinity;
      break;
    }
    result.set(value, length);
    length += value.length;
  }
  if (length !== raw) {
    throw new ReplayError(`${what} does not have the declared length of ${raw} bytes. The file is damaged.`);
  }
  return result;
}
