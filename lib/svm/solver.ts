import { expected } from "../errors.js";
import { Column } from "./column.js";
import { ColumnGroup, productsOfProblem } from "./column-group.js";
import type { Basis } from "./preconditioner.js";
import { Preconditioner, strongestDirections } from "./preconditioner.js";
import type { SvmObjective, SvmRows, SvmSolver } from "./problem.js";
import type { RowProducts } from "./products.js";
import { rowProducts } from "./products.js";

/** Columns × rows that are under way at a time; a column keeps eight float64 a row. */
const groupLimit = 4_000_000;

/**
 * Opens a solver on rows.
 *
 * @param options.rows finite float32 features; they are copied to the backend.
 * @param options.objective loss, weight of the positive rows and tolerance.
 * @throws UserError where a row's features are not finite, or too large to be squared in single precision.
 */
export async function openSvmSolver(options: { rows: SvmRows; objective: SvmObjective }): Promise<SvmSolver> {
  const { rows, objective } = options;
  const lengths = squaredLengths(rows);
  const longest = lengths.reduce((a, b) => Math.max(a, b), 0);
  const products = rowProducts(rows);
  let basis: Basis | undefined;

  return {
    solve: async ({ problems, costs, onSolution, onProgress, signal }) => {
      products.expect(productsOfProblem * problems.length * costs.length);
      basis ??= await basisOf(rows, products, lengths);
      const size = Math.max(1, Math.floor(groupLimit / rows.count));
      let solved = 0;
      for (let begin = 0; begin < problems.length; begin += size) {
        const columns = problems
          .slice(begin, begin + size)
          .map((problem, i) => new Column(begin + i, problem, objective, new Preconditioner(basis!, rows.width)));
        const shared = { rows, products, basis, longest };
        const group = new ColumnGroup(shared, columns, costs, (solution) => {
          onSolution(solution);
          onProgress?.(++solved);
        });
        await group.solve(signal);
      }
    },
    dispose: () => {
      products.dispose();
      basis?.dispose();
    },
  };
}

/** Strongest directions that the preconditioner treats exactly. */
const rank = 128;

async function basisOf(rows: SvmRows, products: RowProducts, squaredLengths: Float64Array): Promise<Basis> {
  return strongestDirections({
    products,
    count: rows.count,
    rank: Math.min(rank, rows.count, rows.width + 1),
    squaredLengths,
  });
}

/** Squared lengths of rows are below it, so that sums of many are finite in single precision. */
const largest = 1e30;

/** Of each row, with the bias's feature. */
function squaredLengths(rows: SvmRows): Float64Array {
  const lengths = new Float64Array(rows.count);
  let row = 0;
  for (const block of rows.blocks) {
    for (let at = 0; at < block.length; at += rows.width) {
      let sum = 1;
      for (let i = at; i < at + rows.width; i++) sum += block[i]! ** 2;
      if (!(sum < largest))
        throw expected("finite features of sensible size", `row ${row + 1}`, `a length of ${Math.sqrt(sum)}`);
      lengths[row++] = sum;
    }
  }
  return lengths;
}
