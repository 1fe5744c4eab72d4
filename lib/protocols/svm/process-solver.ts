import path from "node:path";

import { keptBuffers, startProcess } from "../../asked-process.js";
import type { Device } from "../../backend/backend.js";
import type { SvmObjective, SvmRows, SvmSolver } from "../../svm/problem.js";
import type { Question, SolvingNews } from "./process-messages.js";

/**
 * A solver whose work another process does, on a copy of the rows.
 *
 * @param options.threads of that process's TensorFlow.
 * @throws UserError as `openSvmSolver`, and where the process ends before its time.
 */
export async function openProcessSolver(options: {
  rows: SvmRows;
  objective: SvmObjective;
  device: Device;
  threads: number;
}): Promise<SvmSolver> {
  const { rows, objective, device, threads } = options;
  let onNews: (news: SolvingNews) => void = () => {};
  const child = startProcess<Question, SolvingNews>({
    module: path.join(__dirname, "solver-process.js"),
    name: "a process that solves SVMs",
    hint: "It may have run out of memory. The same command goes on where it stopped.",
    environment: keptBuffers,
    onNews: (news) => onNews(news),
  });
  try {
    await child.ask({ ask: "open", device, threads, rows, objective });
  } catch (error) {
    child.end();
    throw error;
  }
  return {
    solve: async ({ problems, costs, onSolution, onProgress, signal }) => {
      signal?.throwIfAborted();
      const failures: unknown[] = [];
      const abort = () => void child.ask({ ask: "abort" }).catch(() => undefined);
      onNews = (news) => {
        // A listener that throws stops the solving, as it would in this process.
        try {
          if (failures.length > 0) return;
          if (news.kind === "solved") onSolution(news.solution);
          else onProgress?.(news.solved);
        } catch (error) {
          failures.push(error);
          abort();
        }
      };
      signal?.addEventListener("abort", abort, { once: true });
      try {
        await child.ask({ ask: "solve", problems, costs });
      } catch (error) {
        failures.push(error);
      } finally {
        signal?.removeEventListener("abort", abort);
      }
      signal?.throwIfAborted();
      if (failures.length > 0) throw failures[0];
    },
    dispose: () => child.end(),
  };
}
