import type { EpochReport } from "./trainer.js";

/** A report as JSON can hold it, which knows neither NaN nor what is not there: losses as text, "" where there is none. */
export type PlainReport = Omit<EpochReport, "losses"> & { losses: string[][][] };

export function asPlainReport(report: EpochReport): PlainReport {
  return withLosses(report, (loss: number | undefined) => (loss === undefined ? "" : String(loss)));
}

export function fromPlainReport(report: PlainReport): EpochReport {
  return withLosses(report, (loss: string) => (loss === "" ? undefined : Number(loss)));
}

function withLosses<A, B, R>(report: R & { losses: A[][][] }, convert: (loss: A) => B): R & { losses: B[][][] } {
  const losses = report.losses.map((ofSeed) => ofSeed.map((ofHead) => Array.from(ofHead, convert)));
  return { ...report, losses };
}
