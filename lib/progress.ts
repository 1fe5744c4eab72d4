import cliProgress from "cli-progress";

/** How long work tells how far it is. One implementation a kind of audience; library functions default to `silent`. */
export interface Progress {
  /** A sentence about what happens now. */
  note(text: string): void;
  /** A piece of countable work. Several may run at once. */
  task(options: { label: string; total: number; unit: string }): ProgressTask;
}

export interface ProgressTask {
  /** `count` more units are done; `detail` is a short word on the state, e.g. `"loss 1.23"`. */
  advance(count: number, detail?: string): void;
  /** The work is over, finished or not. */
  end(): void;
}

export const silent: Progress = { note: () => {}, task: () => ({ advance: () => {}, end: () => {} }) };

/**
 * Bars with rate and time left where `stream` is a terminal; elsewhere a line at the start, at most one each
 * `everySeconds`, and one at the end.
 */
export function terminalProgress(options: { stream?: NodeJS.WriteStream; everySeconds?: number } = {}): Progress {
  const { stream = process.stderr, everySeconds = 10 } = options;
  return stream.isTTY ? bars(stream) : lines(stream, everySeconds);
}

function bars(stream: NodeJS.WriteStream): Progress {
  return {
    note: (text) => void stream.write(`${text}\n`),
    task: ({ label, total, unit }) => {
      const started = Date.now();
      let done = 0;
      const bar = new cliProgress.SingleBar({
        stream,
        hideCursor: true,
        clearOnComplete: false,
        format: `${label} {bar} {value}/{total} ${unit}  {rate}/s  {left}  {detail}`,
      });
      bar.start(total, 0, { rate: "-", left: "", detail: "" });
      return {
        advance: (count, detail = "") => {
          done += count;
          const { rate, left } = pace(done, total, started);
          bar.update(done, { rate: rate.toFixed(rate < 10 ? 1 : 0), left: `${left} left`, detail });
        },
        end: () => bar.stop(),
      };
    },
  };
}

function lines(stream: NodeJS.WriteStream, everySeconds: number): Progress {
  return {
    note: (text) => void stream.write(`${text}\n`),
    task: ({ label, total, unit }) => {
      const started = Date.now();
      let done = 0;
      let told = started;
      const tell = (detail: string) => {
        const { rate, left } = pace(done, total, started);
        const share = total > 0 ? Math.floor((100 * done) / total) : 100;
        const rest = done < total ? `, ${left} left` : "";
        stream.write(
          `${label}: ${done}/${total} ${unit} (${share} %), ${rate.toFixed(rate < 10 ? 1 : 0)}/s${rest}` +
            `${detail ? `, ${detail}` : ""}\n`,
        );
        told = Date.now();
      };
      let last = "";
      return {
        advance: (count, detail = "") => {
          done += count;
          last = detail;
          if (Date.now() - told >= everySeconds * 1000 && done < total) tell(detail);
        },
        end: () => tell(last),
      };
    },
  };
}

function pace(done: number, total: number, started: number): { rate: number; left: string } {
  const seconds = Math.max((Date.now() - started) / 1000, 1e-3);
  const rate = done / seconds;
  return { rate, left: rate > 0 ? duration((total - done) / rate) : "?" };
}

/** Seconds as a person says them: `8 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** How many of what: `1 image`, `20 images`, `2 processes`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : noun.endsWith("s") ? "es" : "s"}`;
}

/** Bytes as a person says them: `17.0 MB`. */
export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
