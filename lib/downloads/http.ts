import { setTimeout as sleep } from "node:timers/promises";

import type * as Undici from "undici";
import type { Dispatcher } from "undici";

import { UserError } from "../errors.js";
import { errorCode } from "../files.js";

export interface GetOptions {
  url: string;
  headers?: Record<string, string>;
  /** What is fetched, in messages, e.g. `"the wheel of TensorFlow"`. */
  label: string;
}

export type Response = Dispatcher.ResponseData;

let agent: Dispatcher | undefined;

/** One for the process: it honours HTTP_PROXY, HTTPS_PROXY and NO_PROXY as they stood at the first use. */
function dispatcher({ EnvHttpProxyAgent, interceptors }: typeof Undici): Dispatcher {
  agent ??= new EnvHttpProxyAgent({
    connect: { timeout: 30_000 },
    headersTimeout: 60_000,
    bodyTimeout: 60_000,
  }).compose(interceptors.redirect({ maxRedirections: 5 }));
  return agent;
}

/**
 * One GET. Answers of 2xx, and 416 to a range, are given back with their body unread.
 *
 * @throws UserError where the server says that there is no such thing, or that this user may not have it.
 * @throws Transient where trying again may help: no connection, a cut one, 408, 429, 5xx.
 */
export async function get({ url, headers = {}, label }: GetOptions): Promise<Response> {
  const { address, authorization } = withoutPassword(url);
  // Loaded here: every command comes by this file, and few of them fetch anything.
  const undici = await import("undici");
  let response: Response;
  try {
    response = await undici.request(address, {
      dispatcher: dispatcher(undici),
      headers: { "user-agent": "frozen-eval", ...authorization, ...headers },
    });
  } catch (error) {
    throw new Transient(`no answer from ${address.host} (${reason(error)})`, error);
  }
  const { statusCode } = response;
  if ((statusCode >= 200 && statusCode < 300) || statusCode === 416) return response;
  await response.body.dump().catch(() => {});
  if (statusCode === 408 || statusCode === 429 || statusCode >= 500) {
    throw new Transient(`${address.host} answered ${statusCode}`);
  }
  const received = `Expected ${label} at ${address.href} but the server answered ${statusCode}`;
  if (statusCode === 404 || statusCode === 410) {
    throw new UserError(`${received}: there is no such file`, {
      hint: "Where packages come from a mirror, see that it is complete (PIP_INDEX_URL, npm's registry).",
    });
  }
  throw new UserError(received, { hint: "See that this machine and user may read from there (proxy, mirror, login)." });
}

/** As {@link get}, and reads the body as text; tries again a few times. */
export async function getText(options: GetOptions): Promise<string> {
  return withRetries({ label: options.label, url: options.url }, async () => {
    const response = await get(options);
    try {
      return await response.body.text();
    } catch (error) {
      throw new Transient(`the connection was cut (${reason(error)})`, error);
    }
  });
}

/** A failure of the moment. */
export class Transient extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
  }
}

export interface RetryOptions {
  label: string;
  url: string;
  /** How often it is tried in all. */
  tries?: number;
  /** Milliseconds before the second try; doubled before each further one. */
  pause?: number;
}

/**
 * Repeats `work` while it throws {@link Transient}.
 *
 * @throws UserError after the last try: with the last reason, and what to do.
 */
export async function withRetries<T>(options: RetryOptions, work: (trial: number) => Promise<T>): Promise<T> {
  const { label, url, tries = 4, pause = 500 } = options;
  for (let trial = 1; ; trial++) {
    try {
      return await work(trial);
    } catch (error) {
      if (!(error instanceof Transient)) throw error;
      if (trial >= tries) {
        throw new UserError(
          `Expected ${label} from ${withoutPassword(url).address.href} but, after ${tries} tries, ${error.message}`,
          {
            hint:
              "See that this machine reaches that address. Behind a proxy set HTTPS_PROXY; with a mirror set " +
              "PIP_INDEX_URL or npm's registry. What has arrived is kept, and the same command goes on from there.",
            cause: error,
          },
        );
      }
      await sleep(pause * 2 ** (trial - 1));
    }
  }
}

/** A mirror's `https://user:password@host/…` as an address that may be shown, and the header that says the rest. */
function withoutPassword(url: string): { address: URL; authorization: Record<string, string> } {
  const address = new URL(url);
  const { username, password } = address;
  if (!username) return { address, authorization: {} };
  address.username = address.password = "";
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { address, authorization: { authorization: `Basic ${Buffer.from(pair).toString("base64")}` } };
}

export function reason(error: unknown): string {
  return errorCode(error) ?? (error instanceof Error ? error.message : String(error));
}
