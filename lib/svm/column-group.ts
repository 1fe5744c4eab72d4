import * as tf from "@tensorflow/tfjs";

import { ActiveRows } from "./active-rows.js";
import type { Column } from "./column.js";
import { advance, advanceAlone } from "./conjugate-step.js";
import { judge, solutionOf, type Judged, type Posed } from "./judgement.js";
import type { Basis } from "./preconditioner.js";
import type { SvmRows, SvmSolution } from "./problem.js";
import type { RowProducts } from "./products.js";

/** Products with the kernel that a problem takes at a cost, roughly. */
export const productsOfProblem = 25;

/** Promising candidates that are judged at a time. */
const judgedAtOnce = 64;

/** Most active rows that a factor is made over, and most elements of the factors that there are at a time (400 MB). */
const activeLimit = { rows: 2500, elements: 1e8 };

/** What problems on the same rows share. */
export interface SharedRows {
  rows: SvmRows;
  products: RowProducts;
  basis: Basis;
  /** Largest squared length of a row, with the bias's feature. */
  longest: number;
}

/**
 * Columns that are solved side by side, so that their products are one. Each goes to its next cost when it is done with
 * one: products have many columns to the end.
 */
export class ColumnGroup {
  private readonly positions: Map<Column, number>;
  /** Products with the kernel so far. */
  private spent = 0;
  /** Candidates that are judged later, among many, while their columns have gone on. */
  private readonly promising: Posed[] = [];
  /** Those of them that were not good enough. */
  private readonly failed: Judged[] = [];

  constructor(
    private readonly shared: SharedRows,
    private readonly columns: Column[],
    private readonly costs: number[],
    private readonly onSolution: (solution: SvmSolution) => void,
  ) {
    this.positions = new Map(columns.map((column) => [column, 0]));
  }

  async solve(signal?: AbortSignal): Promise<void> {
    try {
      this.beginNext(this.columns);
      do {
        // Native TensorFlow computes at once: without a pause no signal is heard, and no progress seen.
        await tf.nextFrame();
        signal?.throwIfAborted();
      } while (await this.goOn());
    } finally {
      for (const { activeRows } of this.columns) activeRows?.forget();
    }
  }

  /** Does what is due: products of as many columns as can be had. False where nothing is left. */
  private async goOn(): Promise<boolean> {
    const { shared, columns, promising, failed } = this;
    for (const column of columns) if (column.activeCount > activeLimit.rows) column.overAllRows();
    this.setPromisingAside();
    const stepping = columns.filter(({ state, alone }) => state === "step" && !alone);
    const alone = columns.filter(({ state, alone }) => state === "step" && alone);
    const checking = columns.filter(({ state }) => state === "check");
    if (promising.length >= judgedAtOnce) await this.judgePromising();
    else if (4 * checking.length > stepping.length) await this.judgeNow(checking);
    else if (stepping.length > 0) await advance(shared.products, shared.basis, withinLimit(stepping));
    else if (alone.length > 0) for (const column of alone) advanceAlone(shared.rows, column);
    else if (promising.length > 0) await this.judgePromising();
    else if (failed.length > 0) this.takeUpFailed();
    else return false;
    return true;
  }

  /** Sends columns that are done with a cost to their next one. */
  private beginNext(done: Column[]): void {
    const { positions, costs, columns, shared } = this;
    const going = done.filter((column) => positions.get(column)! < costs.length);
    for (const column of done) this.spent += column.products;
    const paying = going.filter((column) => column.activeRowsPay(activeLimit.rows));
    const expected = productsOfProblem * columns.length * costs.length;
    const gram = paying.length > 0 ? shared.products.gram(Math.max(this.spent, expected)) : undefined;
    if (gram) for (const column of paying) column.activeRows = new ActiveRows(gram, shared.longest);
    for (const column of going) {
      const position = positions.get(column)!;
      column.begin(costs[position]!);
      positions.set(column, position + 1);
    }
  }

  private setPromisingAside(): void {
    for (;;) {
      const arrived = this.columns.filter(({ state, promising }) => state === "check" && promising);
      if (arrived.length === 0) return;
      for (const column of arrived) {
        this.promising.push({ column, candidate: column.candidate() });
        column.leave();
      }
      this.beginNext(arrived);
    }
  }

  private async judgePromising(): Promise<void> {
    const { rows, products } = this.shared;
    for (const found of await judge(rows, products, this.promising.splice(0))) {
      if (found.judgement.converged) this.onSolution(solutionOf(found));
      else this.failed.push(found);
    }
  }

  private async judgeNow(checking: Column[]): Promise<void> {
    const { rows, products } = this.shared;
    const posed = checking.map((column) => ({ column, candidate: column.candidate() }));
    for (const found of await judge(rows, products, posed)) {
      const { column, candidate, judgement } = found;
      column.judge(candidate, judgement);
      if (column.state !== "done") continue;
      column.leave();
      this.onSolution(solutionOf(found));
    }
    this.beginNext(checking.filter(({ state }) => state === "done"));
  }

  /** Has each column take up the first of its costs at which it failed. */
  private takeUpFailed(): void {
    const taken = new Set<Column>();
    for (const one of this.failed.splice(0)) {
      const { column, candidate, judgement } = one;
      if (taken.has(column)) {
        this.failed.push(one);
        continue;
      }
      taken.add(column);
      column.beginAgain(candidate, judgement);
      if (column.state === "done") this.onSolution(solutionOf(one));
    }
  }
}

/** Without those of the last columns over active rows for whose factors there is no room. */
function withinLimit(columns: Column[]): Column[] {
  let elements = 0;
  return columns.filter(({ activeRows, activeCount }) => {
    if (!activeRows) return true;
    const room = elements === 0 || elements + activeCount ** 2 <= activeLimit.elements;
    if (room) elements += activeCount ** 2;
    return room;
  });
}
