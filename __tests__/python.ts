import { execFileSync, spawnSync } from "node:child_process";

/** A test that runs beside the original program; skipped, with the reason in its name, where there is no such Python. */
export function testWithPython(
  options: { name: string; variable: "OPTUNA_PYTHON" | "TORCH_PYTHON"; module: string },
  body: (python: (argv: string[]) => string) => void,
): void {
  const { name, variable, module } = options;
  const python = process.env[variable] ?? "python3";
  const probe = `import importlib.util, sys; sys.exit(importlib.util.find_spec('${module}') is None)`;
  const found = spawnSync(python, ["-c", probe]).status === 0;
  const told = found ? name : `${name} (${python} has no ${module}; name a Python that has by ${variable})`;
  (found ? test : test.skip)(told, () => body((argv) => execFileSync(python, argv, { encoding: "utf8" })));
}
