/** Unpacking what gzip packed, with nothing but what the browser has. */
import { ReplayError } from "./error";
import type { Bytes } from "./source";

const MIB = 1 << 20;

/** Deflate makes at most this many bytes out of one. */
export const MOST_RATIO = 1032;

/**
 * Unpacks one gzip member.
 *
 * A browser inflates all that it is handed at once, whether anybody takes the result or not, so that it is
 * handed little by little: however the bytes lie about themselves, `raw` and some 20 MiB are held at most.
 *
 * @param raw length that the result must have, bytes.
 * @param what begins the sentence of a ReplayError: what is being unpacked.
 */
export async function unpack(stored: Bytes, raw: number, what: string): Promise<Bytes> {
  const result = new Uint8Array(raw);
  const step = Math.max(1024, Math.floor((raw + 16 * MIB) / MOST_RATIO));
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
