import { messageOf, UserError } from "../errors.js";
import type { FromChild, ToChild } from "./messages.js";

/**
 * Makes this process answer the questions of the one that started it, and end with that one.
 *
 * @returns tells the other process what it did not ask.
 */
export function answerQuestions<Question, Event>(
  answer: (question: Question) => Promise<unknown>,
): (event: Event) => void {
  const send = (message: FromChild<Event>): void => {
    // Where the other process has gone, this one ends with it.
    process.send?.(message, undefined, {}, () => undefined);
  };
  process.on("message", ({ id, question }: ToChild<Question>) => {
    answer(question).then(
      (value) => send({ kind: "answer", id, value }),
      (error: unknown) => {
        const user = error instanceof UserError ? { hint: error.hint } : undefined;
        const stack = error instanceof Error ? error.stack : undefined;
        send({ kind: "failure", id, failure: { message: messageOf(error), user, stack } });
      },
    );
  });
  // The asking process stops this one: a signal of the terminal reaches both.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => undefined);
  process.on("disconnect", () => process.exit());
  return (event) => send({ kind: "event", event });
}
