/** What a job asks of Slurm; what is not given the cluster's own defaults decide. */
export interface SlurmSettings {
  partition?: string;
  /** Limit of each job, as sbatch takes it, e.g. `04:00:00`. */
  time?: string;
  /** Of each job, e.g. `16G`. */
  memory?: string;
  /** Cores of each job. */
  cpus?: number;
  /** GPUs of each job: `1`, `a100:1`. */
  gpus?: string;
  /** Features that a node must have, e.g. `a100|h100`. */
  constraint?: string;
  account?: string;
  /** Whether a job queues again that was pre-empted, whose node failed, or whose time is over. Default: yes. */
  requeue?: "yes" | "no";
}

/**
 * The script of a job array: task i runs `jobs/<i>.sh` in the folder from which it is submitted.
 *
 * A minute before a job's time is over, or where it is pre-empted, Slurm sends SIGUSR1 (`--signal=B:USR1@60`): the
 * program is told to stop, keeps what is whole, and the task queues again. SIGTERM, which is what scancel and
 * pre-emption send, is handed on; whether the task runs again is then Slurm's to say.
 */
export function arrayScript(options: { name: string; settings: SlurmSettings; threads?: number }): string {
  const { name, settings } = options;
  const { partition, time, memory, cpus, gpus, constraint, account, requeue = "yes" } = settings;
  const asked = {
    "job-name": name,
    output: "logs/%a.log",
    "open-mode": "append",
    signal: "B:USR1@60",
    partition,
    time,
    mem: memory,
    "cpus-per-task": cpus,
    gres: gpus === undefined ? undefined : `gpu:${gpus}`,
    constraint,
    account,
  };
  const lines = Object.entries(asked).filter(([, value]) => value !== undefined);
  const threads = options.threads ?? "${SLURM_CPUS_ON_NODE:-1}";
  const again = 'exec scontrol requeue "$SLURM_JOB_ID"';
  return `#!/bin/bash
# A job array of frozen-eval. By hand, in this folder: sbatch --array=1-N array.sh
${lines.map(([key, value]) => `#SBATCH --${key}="${value}"`).join("\n")}
#SBATCH --${requeue === "yes" ? "requeue" : "no-requeue"}

requeue=no
stop() { kill -TERM "$program" 2>/dev/null; }
trap 'requeue=${requeue}; stop' USR1
trap stop TERM
sh "jobs/$SLURM_ARRAY_TASK_ID.sh" --threads "${threads}" --workers "${threads}" &
program=$!
wait "$program"
status=$?
# A signal ends the waiting, not the program.
while kill -0 "$program" 2>/dev/null; do
  wait "$program"
  status=$?
done
[ "$requeue" = no ] || [ "$status" -eq 0 ] || ${again}
exit "$status"
`;
}
