import { spawn } from "node:child_process";
import path from "node:path";
import readline from "node:readline";

/** The repository's root, seen from dist/bench. */
export const root = path.resolve(__dirname, "..", "..");

/** A Python program under bench/peers that answers each line on its standard input with one line. */
export interface Peer {
  /** The next line that it writes by itself, e.g. its versions when it has started. */
  next(): Promise<string>;
  ask(line: string): Promise<string>;
  end(): void;
}

export function openPeer(options: { python: string; script: string; args: string[] }): Peer {
  const { python, script, args } = options;
  const file = path.join(root, "bench", "peers", script);
  const peer = spawn(python, [file, ...args], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = readline.createInterface({ input: peer.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const line = await lines.next();
    if (line.done) throw new Error(`${python} ended; it needs what bench/peers/requirements.txt names`);
    return line.value;
  };
  return {
    next,
    ask: async (line) => {
      peer.stdin.write(`${line}\n`);
      return next();
    },
    end: () => peer.stdin.end(),
  };
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
}

/** Peak resident memory of this process in bytes. */
export function peakMemory(): number {
  return process.resourceUsage().maxRSS * 1024;
}
