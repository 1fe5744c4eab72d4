import { createHash } from "node:crypto";
import http from "node:http";
import type { AddressInfo } from "node:net";

/** A file that {@link serve} gives out, and how it misbehaves. */
export interface Served {
  content: Buffer;
  /**
   * The connection is cut after so many bytes, this often; once `seen()` bytes of the whole are where they belong, for
   * what is on its way when a connection ends is lost.
   */
  cut?: { after: number; times: number; seen?: () => number };
  /** Answered first, in order, instead of the content. */
  statuses?: number[];
  /** Answers a range with the whole file, as some servers do. */
  ignoresRange?: boolean;
  /** Milliseconds before it answers. */
  slow?: number;
  /** Where the file is instead. */
  movedTo?: string;
}

export interface LocalServer {
  /** `http://127.0.0.1:<port>` */
  url: string;
  files: Record<string, Served>;
  /** Of each request: path and the range asked for. */
  requests: { path: string; range?: string; authorization?: string }[];
  close(): Promise<void>;
}

/** A web server on this machine alone, which tests fill with files. */
export async function serve(files: Record<string, Served> = {}): Promise<LocalServer> {
  const requests: LocalServer["requests"] = [];
  const server = http.createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? "/");
    const { range, authorization } = request.headers;
    requests.push({ path, range, authorization });
    const file = files[path];
    setTimeout(() => answer(response, file, range), file?.slow ?? 0);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    files,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answer(response: http.ServerResponse, file: Served | undefined, range: string | undefined): void {
  const status = file?.statuses?.shift();
  if (!file || status !== undefined) {
    response.writeHead(status ?? 404).end();
    return;
  }
  if (file.movedTo !== undefined) {
    response.writeHead(302, { location: file.movedTo }).end();
    return;
  }
  const start = file.ignoresRange ? 0 : Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
  if (start >= file.content.length && start > 0) {
    response.writeHead(416, { "content-range": `bytes */${file.content.length}` }).end();
    return;
  }
  const rest = file.content.subarray(start);
  response.writeHead(start > 0 ? 206 : 200, {
    "content-length": rest.length,
    ...(start > 0 ? { "content-range": `bytes ${start}-${file.content.length - 1}/${file.content.length}` } : {}),
  });
  if (file.cut && file.cut.times > 0) {
    file.cut.times--;
    const { after, seen } = file.cut;
    const cut = () => {
      if ((seen?.() ?? Infinity) >= start + after) response.destroy();
      else setTimeout(cut, 5);
    };
    response.write(rest.subarray(0, after), cut);
  } else {
    response.end(rest);
  }
}

export function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}

export function integrity(content: Buffer): string {
  return `sha512-${createHash("sha512").update(content).digest("base64")}`;
}
