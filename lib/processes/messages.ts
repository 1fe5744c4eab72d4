/** What a process tells the one that started it. */
export type FromChild<Event> =
  | { kind: "answer"; id: number; value: unknown }
  | { kind: "failure"; id: number; failure: Failure }
  | { kind: "event"; event: Event };

/** What it is asked; each question has one answer. */
export interface ToChild<Question> {
  id: number;
  question: Question;
}

/** An error on its way between processes. */
export interface Failure {
  message: string;
  /** Of a mistake of the user's. */
  user?: { hint?: string };
  stack?: string;
}
