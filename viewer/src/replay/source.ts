/** Sources of the bytes of a recording. */
import { ReplayError, reasonOf } from "./error";

export type Bytes = Uint8Array<ArrayBuffer>;

export interface Source {
  /** Current length in bytes; a recording that is still being written grows. */
  size(): Promise<number>;
  /** Bytes from an offset on; fewer than requested only at the end of the recording. */
  read(offset: number, length: number): Promise<Bytes>;
}

/** A file that was chosen, or dropped on the page. */
export class BlobSource implements Source {
  constructor(private readonly blob: Blob) {}

  size(): Promise<number> {
    return Promise.resolve(this.blob.size);
  }

  async read(offset: number, length: number): Promise<Bytes> {
    try {
      return new Uint8Array(await this.blob.slice(offset, offset + length).arrayBuffer());
    } catch (thrown) {
      throw new ReplayError(
        `The file can no longer be read (${reasonOf(thrown)}). If it has changed in the meantime, open it again.`,
      );
    }
  }
}

/** Bytes in memory. Each read returns a copy, because it may be transferred. */
export class MemorySource implements Source {
  constructor(private readonly bytes: Uint8Array) {}

  size(): Promise<number> {
    return Promise.resolve(this.bytes.length);
  }

  read(offset: number, length: number): Promise<Bytes> {
    return Promise.resolve(new Uint8Array(this.bytes.subarray(offset, offset + length)));
  }
}

/** A file on a server that supports HTTP Range requests. */
export class HttpSource implements Source {
  constructor(private readonly url: string) {}

  async size(): Promise<number> {
    return (await this.part(0, 0)).size;
  }

  async read(offset: number, length: number): Promise<Bytes> {
    return length > 0 ? (await this.part(offset, offset + length - 1)).bytes : new Uint8Array(0);
  }

  /** Bytes `from` to `to`, both inclusive, and the total length. */
  private async part(from: number, to: number): Promise<{ bytes: Bytes; size: number }> {
    let response: Response;
    try {
      // Not from the cache: a live recording grows, and Recording caches its chunks itself.
      response = await fetch(this.url, { headers: { Range: `bytes=${from}-${to}` }, cache: "no-store" });
    } catch (thrown) {
      throw new ReplayError(
        `${this.url} cannot be reached (${reasonOf(thrown)}). Check that its server is running and allows ` +
          "this page to read from it.",
      );
    }
    if (response.status === 416) return { bytes: new Uint8Array(0), size: wholeSize(response) ?? 0 };
    if (response.status !== 206) {
      void response.body?.cancel();
      throw new ReplayError(this.complaint(response.status));
    }
    const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "");
    const size = Number(range?.[3]);
    if (!range || Number(range[1]) !== from || Number(range[2]) !== Math.min(to, size - 1)) {
      void response.body?.cancel();
      throw new ReplayError(
        `The server of ${this.url} was asked for bytes ${from} to ${to}, but sent others or does not say ` +
          "which (Content-Range). Download the file and open it from disk.",
      );
    }
    let bytes: Bytes;
    try {
      bytes = new Uint8Array(await response.arrayBuffer());
    } catch (thrown) {
      throw new ReplayError(`${this.url} closed the connection (${reasonOf(thrown)}). Try again.`);
    }
    if (bytes.length !== Math.min(to + 1, size) - from) {
      throw new ReplayError(`${this.url} closed the connection after ${bytes.length} bytes. Try again.`);
    }
    return { bytes, size };
  }

  private complaint(status: number): string {
    if (status === 200) {
      return (
        `The server of ${this.url} always sends the whole file and cannot send parts of it (it ignores ` +
        "Range requests). Download the file and open it from disk, or serve it with nmmo-gpu view."
      );
    }
    if (status === 404) return `There is no recording at ${this.url}. Check the address.`;
    return `The server of ${this.url} answered with status ${status}. Check the address.`;
  }
}

function wholeSize(response: Response): number | undefined {
  const range = /^bytes \*\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "");
  return range ? Number(range[1]) : undefined;
}
