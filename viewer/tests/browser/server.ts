import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";

const TYPES: Readonly<Record<string, string>> = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".png": "image/png",
  ".svg": "image/svg+xml",
};

/** A running file server. */
export interface Server {
  /** Its address, "http://127.0.0.1:PORT/". */
  readonly url: string;
  /** Stops it and closes its open connections. */
  close(): Promise<void>;
}

/**
 * Serves the files in a folder, or byte ranges of them, like a plain file server.
 *
 * @param port 0 for a free port. @param more files outside the folder by path, such as "/a.replay".
 */
export async function serve(
  folder: string,
  port = 0,
  more: Readonly<Record<string, string>> = {},
): Promise<Server> {
  const server = createServer((request, response) => {
    // URL has already resolved "..", so no path leaves the folder.
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
    const file = more[path] ?? join(folder, path.endsWith("/") ? `${path}index.html` : path);
    readFile(file).then(
      (body) => {
        const type = { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" };
        const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
        if (!range) {
          response.writeHead(200, type);
          response.end(body);
          return;
        }
        const [from, to] = [Number(range[1]), Math.min(Number(range[2]), body.length - 1)];
        response.writeHead(206, { ...type, "Content-Range": `bytes ${from}-${to}/${body.length}` });
        response.end(body.subarray(from, to + 1));
      },
      () => {
        response.writeHead(404).end();
      },
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
