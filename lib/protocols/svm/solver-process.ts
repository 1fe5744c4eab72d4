/** A process that solves SVMs for another one, with a TensorFlow of its own. `openProcessSolver` starts it. */
import { answerQuestions } from "../../asked-process.js";
import { prepareBackend } from "../../backend/backend.js";
import type { SvmSolver } from "../../svm/problem.js";
import { openSvmSolver } from "../../svm/solver.js";
import type { Question, SolvingNews } from "./process-messages.js";

let solver: SvmSolver;
let abort = new AbortController();

const tell = answerQuestions<Question, SolvingNews>(answer);

async function answer(question: Question): Promise<unknown> {
  switch (question.ask) {
    case "open":
      await prepareBackend(question);
      solver = await openSvmSolver(question);
      return undefined;
    case "solve":
      abort = new AbortController();
      return solver.solve({
        ...question,
        signal: abort.signal,
        onSolution: (solution) => tell({ kind: "solved", solution }),
        onProgress: (solved) => tell({ kind: "progress", solved }),
      });
    case "abort":
      return abort.abort(new Error("stopped"));
  }
}
