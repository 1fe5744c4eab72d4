// Starts the compiled program. A fresh clone is compiled first, once; an installed package is compiled already.
const { existsSync } = require("node:fs");
const { spawnSync } = require("node:child_process");
const os = require("node:os");
const path = require("node:path");

// Images are decoded in this pool, which has four threads unless told otherwise before anything uses it.
process.env.UV_THREADPOOL_SIZE ??= String(Math.max(4, os.availableParallelism() + 2));

const root = path.resolve(__dirname, "..", "..");
const program = path.join(root, "dist", "cli", "frozen-eval.js");

function build() {
  const compiler = path.join(root, "node_modules", "typescript", "bin", "tsc");
  if (!existsSync(compiler)) {
    process.stderr.write("error: Expected the packages of frozen-eval but they are not installed\nRun: npm ci\n");
    process.exit(2);
  }
  process.stderr.write("Compiling frozen-eval, once.\n");
  const { status } = spawnSync(process.execPath, [compiler, "-p", root], { stdio: ["ignore", 2, 2] });
  if (status !== 0) process.exit(1);
}

module.exports = function launch(argv) {
  if (Number(process.versions.node.split(".")[0]) < 20) {
    process.stderr.write(`error: Expected Node 20 or later but received Node ${process.versions.node}\n`);
    process.exit(2);
  }
  if (!existsSync(program)) build();
  // Worker threads and native backends may keep the process alive: it ends when the command has.
  require(program)
    .main(argv)
    .then((exitCode) => process.exit(exitCode));
};
