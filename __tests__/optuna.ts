import { spawnSync } from "node:child_process";

/** A Python that may have Optuna. */
export const optunaPython = process.env.OPTUNA_PYTHON ?? "python3";

const probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('optuna') is None)";

/** Why tests with Optuna are left out, as the end of their names; empty where they are not. */
export const noOptuna =
  spawnSync(optunaPython, ["-c", probe]).status === 0
    ? ""
    : ` (${optunaPython} has no optuna; name a Python that has by OPTUNA_PYTHON)`;
