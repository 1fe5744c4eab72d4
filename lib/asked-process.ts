import { fork } from "node:child_process";
import readline from "node:readline";

import { messageOf, UserError } from "./errors.js";

/** A process of this program that does a share of the work: it is asked by messages, and each question has one answer. */
export interface AskedProcess<Question> {
  /** Sends what the question holds before it returns; typed arrays in it may then be written anew. */
  ask<T>(question: Question): Promise<T>;
  /** Ends it, whatever it is doing. */
  end(): void;
}

export interface StartProcessOptions<News> {
  /** Path of the compiled module that it runs, which calls {@link answerQuestions}. */
  module: string;
  /** As it stands in the message when it ends by itself: `a training process`. */
  name: string;
  /** What to do when it ends by itself. */
  hint: string;
  /** Variables beside those of this process. */
  environment?: NodeJS.ProcessEnv;
  /** Told in between; {@link answerQuestions} gives the function that tells. */
  onNews?: (news: News) => void;
}

/**
 * Makes glibc keep what TensorFlow gives back. By default a buffer above 32 MB (and smaller ones at first) comes from
 * the system page by page and goes back at once, in every step anew; other C libraries do not read it. What the user
 * has set stays.
 */
export const keptBuffers = {
  MALLOC_MMAP_THRESHOLD_: process.env.MALLOC_MMAP_THRESHOLD_ ?? String(2 ** 40),
  MALLOC_TRIM_THRESHOLD_: process.env.MALLOC_TRIM_THRESHOLD_ ?? String(2 ** 40),
};

/** What TensorFlow says of itself whenever it is loaded, whatever level of messages is set. This process has said it too. */
const greeting = /^WARNING: All log messages before absl::InitializeLog\(\)|^I\d{4} .* oneDNN custom operations are on/;

/**
 * Starts a process to be asked. It ends with this one, also where this one is killed.
 *
 * Every question to a process that has ended fails with a UserError that says how it ended.
 */
export function startProcess<Question, News = never>(options: StartProcessOptions<News>): AskedProcess<Question> {
  const { module, name, hint, environment, onNews } = options;
  const child = fork(module, [], {
    env: { ...process.env, ...environment },
    serialization: "advanced",
    execArgv: [],
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  readline.createInterface({ input: child.stderr! }).on("line", (line) => {
    if (!greeting.test(line)) process.stderr.write(`${line}\n`);
  });
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: unknown) => void }>();
  let asked = 0;
  let ended: Error | undefined;
  child.on("message", (message: Message<News>) => {
    if (message.kind === "news") return onNews?.(message.news);
    const question = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.kind === "answer") question?.resolve(message.value as never);
    else question?.reject(asError(message.failure));
  });
  const onEnd = (why: string) => {
    ended ??= new UserError(`Expected ${name} to finish but it ended (${why})`, { hint });
    for (const { reject } of waiting.values()) reject(ended);
    waiting.clear();
  };
  child.on("exit", (code, signal) => onEnd(signal ?? `exit code ${code}`));
  child.on("error", ({ message }) => onEnd(message));
  return {
    ask: <T>(question: Question) =>
      new Promise<T>((resolve, reject) => {
        if (ended) return reject(ended);
        waiting.set(asked, { resolve, reject });
        // A process that has just gone cannot be told anything: its end is what answers.
        child.send({ id: asked++, question }, () => undefined);
      }),
    end: () => void child.kill("SIGKILL"),
  };
}

/**
 * What the started process does: it answers questions until the other one ends it or is gone.
 *
 * @returns tells the other one something in between.
 */
export function answerQuestions<Question, News = never>(
  answer: (question: Question) => Promise<unknown>,
): (news: News) => void {
  // Where the other process has gone, this one ends with it.
  const send = (message: Message<News>) => void process.send?.(message, undefined, {}, () => undefined);
  process.on("message", ({ id, question }: { id: number; question: Question }) => {
    answer(question).then(
      (value) => send({ kind: "answer", id, value }),
      (error: unknown) => send({ kind: "failure", id, failure: failureOf(error) }),
    );
  });
  // The asking process stops this one: a signal of the terminal reaches both.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => undefined);
  process.on("disconnect", () => process.exit());
  return (news) => send({ kind: "news", news });
}

type Message<News> =
  | { kind: "answer"; id: number; value: unknown }
  | { kind: "failure"; id: number; failure: Failure }
  | { kind: "news"; news: News };

/** An error on its way between processes. */
interface Failure {
  message: string;
  /** Of a mistake of the user's. */
  user?: { hint?: string };
  stack?: string;
}

function failureOf(error: unknown): Failure {
  const user = error instanceof UserError ? { hint: error.hint } : undefined;
  return { message: messageOf(error), user, stack: error instanceof Error ? error.stack : undefined };
}

function asError({ message, user, stack }: Failure): Error {
  return user ? new UserError(message, user) : Object.assign(new Error(message), { stack });
}
