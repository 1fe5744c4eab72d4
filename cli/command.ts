import type { z } from "zod";

import { messageOf, UserError } from "../lib/errors.js";
import { packageVersion } from "../lib/package.js";
import type { Progress } from "../lib/progress.js";
import type { SettingsDefinition } from "../lib/settings/definition.js";
import type { ProtocolHeader } from "../lib/settings/load.js";
import { helpText } from "./help.js";

/** What a command is given besides its settings. */
export interface CommandContext {
  progress: Progress;
  /** Aborted by Ctrl-C, SIGTERM and SIGUSR1: stop after the step in hand, keep what is whole. */
  signal: AbortSignal;
  /** Of the YAML file that the settings come from, where it has one. */
  protocol?: ProtocolHeader;
}

/** What a command has to say when it is done: to a person, and (`--json`) to a program. */
export interface CommandReport {
  text: string;
  json: unknown;
  /** 0 where not given; 1 where the work was done and its answer is "no"; 2 where what was given is damaged. */
  exitCode?: number;
}

export interface Command<S extends z.ZodObject = z.ZodObject> {
  definition: SettingsDefinition<S>;
  /** Calls the library. Whatever it needs that is large is imported inside of it, so that `--help` is there at once. */
  run(settings: z.output<S>, context: CommandContext): Promise<CommandReport>;
}

/** Ties a command's settings to what it does. */
export function command<S extends z.ZodObject>(definition: SettingsDefinition<S>, run: Command<S>["run"]): Command<S> {
  return { definition, run };
}

/**
 * Runs a command as a person called it, and never throws.
 *
 * @param argv what stands after the command's name.
 * @returns the exit code: 0 done, 1 a defect of ours (or the answer "no"), 2 a mistake of the user's, 130, 143 and
 * 138 stopped by SIGINT, SIGTERM and SIGUSR1.
 */
export async function runCommand(command: Command, argv: string[]): Promise<number> {
  const { definition } = command;
  const stop = stopOnSignals();
  try {
    if (argv.includes("--help") || argv.includes("-h")) return await print(helpText(definition), 0);
    if (argv.includes("--version")) return await print(`${packageVersion()}\n`, 0);
    return await execute(command, argv, stop.signal);
  } catch (error) {
    if (stop.signal.aborted) {
      process.stderr.write("Stopped. The same command goes on where this one was.\n");
      return stop.exitCode();
    }
    return complain(error);
  } finally {
    stop.release();
  }
}

/** Apart, and importing as it goes, because `--help` should not wait for YAML. */
async function execute(command: Command, argv: string[], signal: AbortSignal): Promise<number> {
  const { definition } = command;
  const { readFlags } = await import("../lib/settings/flags.js");
  const { loadPartialSettings, loadSettings } = await import("../lib/settings/load.js");
  const flags = readFlags({ definition, argv });
  if (flags.printConfig) {
    const { printSettings } = await import("../lib/settings/print.js");
    return print(printSettings(await loadPartialSettings({ definition, flags })), 0);
  }
  const { settings, protocol } = await loadSettings({ definition, flags });
  const { silent, terminalProgress } = await import("../lib/progress.js");
  const progress = flags.quiet ? silent : terminalProgress();
  const { text, json, exitCode = 0 } = await command.run(settings, { progress, signal, protocol });
  return print(flags.json ? `${JSON.stringify(json, null, 2)}\n` : withNewline(text), exitCode);
}

/** One sentence for a mistake of the user's, the stack for one of ours. Returns the exit code. */
export function complain(error: unknown): number {
  if (error instanceof UserError) {
    process.stderr.write(`error: ${error.message}\n${error.hint === undefined ? "" : `${error.hint}\n`}`);
    return 2;
  }
  const told = error instanceof Error ? (error.stack ?? error.message) : messageOf(error);
  process.stderr.write(`${told}\nThis is a defect of frozen-eval ${packageVersion()}, not a mistake of yours.\n`);
  return 1;
}

/** Prints to stdout, whole before it returns. A reader that has gone (`| head`) ends the program quietly. */
export async function print(text: string, exitCode: number): Promise<number> {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
  await new Promise<void>((resolve) => process.stdout.write(text, () => resolve()));
  return exitCode;
}

/** Batch systems send SIGUSR1 before a job's time is over. */
const stopSignals = { SIGINT: 130, SIGTERM: 143, SIGUSR1: 138 } as const;
type StopSignal = keyof typeof stopSignals;

/** The first signal asks the command to stop; the second ends it at once. */
function stopOnSignals(): { signal: AbortSignal; exitCode(): number; release(): void } {
  const controller = new AbortController();
  let received: StopSignal = "SIGINT";
  const onSignal = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(stopSignals[received]);
    received = name as StopSignal;
    process.stderr.write("Stopping after the step in hand. Once more to stop at once.\n");
    controller.abort(new Error(`stopped by ${name}`));
  };
  const names = Object.keys(stopSignals) as StopSignal[];
  for (const name of names) process.on(name, onSignal);
  // Of a local job: whoever launched it is gone, perhaps already while it started.
  const onDisconnect = () => onSignal("SIGTERM");
  process.on("disconnect", onDisconnect);
  if (process.connected === false) onDisconnect();
  return {
    signal: controller.signal,
    exitCode: () => stopSignals[received],
    release: () => {
      for (const name of names) process.off(name, onSignal);
      process.off("disconnect", onDisconnect);
    },
  };
}

function withNewline(text: string): string {
  return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}
