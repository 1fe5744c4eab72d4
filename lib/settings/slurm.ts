import { z } from "zod";

/** A word of sbatch's own language; it goes into a line of a script between quotes. */
const word = z.string().regex(/^[^\s"'`\\$]+$/);

/** What jobs ask of Slurm; the cluster decides what is not given. */
export const slurmField = z
  .strictObject({
    partition: word
      .optional()
      .describe("Partition of the jobs")
      .meta({ flag: "slurm-partition", placeholder: "NAME", expected: "the name of a partition" }),
    time: word
      .optional()
      .describe("Limit of each job; one whose time is over goes on in another, unless --slurm-requeue is no")
      .meta({ flag: "slurm-time", placeholder: "TIME", expected: "a time, e.g. 04:00:00" }),
    memory: word
      .optional()
      .describe("Memory of each job")
      .meta({ flag: "slurm-memory", placeholder: "SIZE", expected: "a size, e.g. 16G" }),
    cpus: z
      .int()
      .min(1)
      .optional()
      .describe("Cores of each job, and threads of its program")
      .meta({ flag: "slurm-cpus" }),
    gpus: word
      .optional()
      .describe("GPUs of each job, as a number or TYPE:NUMBER")
      .meta({ flag: "slurm-gpus", placeholder: "N", expected: "GPUs, e.g. 1 or a100:1" }),
    constraint: word
      .optional()
      .describe("Features that a node must have")
      .meta({ flag: "slurm-constraint", placeholder: "LIST", expected: "features of nodes, e.g. a100|h100" }),
    account: word
      .optional()
      .describe("Account that the jobs are charged to")
      .meta({ flag: "slurm-account", placeholder: "NAME", expected: "the name of an account" }),
    requeue: z
      .enum(["yes", "no"])
      .optional()
      .describe(
        "Whether a job queues again that was pre-empted, lost its node or came to the end of its time; yes where not given",
      )
      .meta({ flag: "slurm-requeue" }),
  })
  .optional()
  .meta({ group: "Several machines" });
