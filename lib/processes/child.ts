import { type ChildProcess, fork } from "node:child_process";

import { UserError } from "../errors.js";
import type { Failure, FromChild } from "./messages.js";

/** A process of this program that answers questions; it ends with this one. */
export interface Child<Question> {
  /** Rejects with what the answering threw, or where the process has ended. */
  ask<T>(question: Question): Promise<T>;
  end(): void;
}

/**
 * Makes glibc keep what TensorFlow gives back. By default a buffer above 32 MB (and smaller ones at first) comes from the
 * system page by page and goes back at once, in every step anew; other C libraries do not read it. What the user has set
 * stays.
 */
const keepBuffers = { MALLOC_MMAP_THRESHOLD_: String(2 ** 40), MALLOC_TRIM_THRESHOLD_: String(2 ** 40) };

/**
 * Starts a process.
 *
 * @param options.script what it runs; it calls `answerQuestions`.
 * @param options.name what an error calls it: "training process".
 * @param options.hint what to do where it has ended before its time.
 * @param options.onEvent what it tells without being asked.
 */
export function startChild<Question, Event>(options: {
  script: string;
  name: string;
  hint: string;
  onEvent: (event: Event) => void;
}): Child<Question> {
  const { script, name, hint, onEvent } = options;
  const child = fork(script, [], {
    env: { ...keepBuffers, ...process.env },
    serialization: "advanced",
    execArgv: [],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: unknown) => void }>();
  let asked = 0;
  let ended: Error | undefined;
  child.on("message", (message: FromChild<Event>) => {
    if (message.kind === "event") return onEvent(message.event);
    const { resolve, reject } = waiting.get(message.id)!;
    waiting.delete(message.id);
    if (message.kind === "answer") resolve(message.value as never);
    else reject(asError(message.failure));
  });
  const onEnd = (why: string) => {
    ended ??= new UserError(`Expected a ${name} to finish but it ended (${why})`, { hint });
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
    end: () => endProcess(child),
  };
}

function endProcess(child: ChildProcess): void {
  child.removeAllListeners("exit");
  if (child.connected) child.disconnect();
}

function asError({ message, user, stack }: Failure): Error {
  if (user) return new UserError(message, user);
  return Object.assign(new Error(message), { stack });
}
