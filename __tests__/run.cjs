// What `npm test` runs after the build: prepares the native backend, runs Jest with the arguments given, and closes with
// one line of counts. Where native TensorFlow cannot be had its tests are skipped with the reason; with CI=true nothing
// may be skipped.
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const root = path.resolve(__dirname, "..");
const library = path.join(root, "dist", "lib");
const strict = process.env.CI === "true";

/** @returns why there is no native TensorFlow, or undefined where there is. */
async function prepareNative() {
  if (process.env.FROZEN_EVAL_NO_NATIVE) return process.env.FROZEN_EVAL_NO_NATIVE;
  const { setUpNative } = require(path.join(library, "backend", "setup.js"));
  const { terminalProgress } = require(path.join(library, "progress.js"));
  try {
    await setUpNative({ progress: terminalProgress() });
    return undefined;
  } catch (error) {
    if (error.name !== "UserError") throw error;
    return error.message;
  }
}

function runJest(environment) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "frozen-eval-jest-"));
  const report = path.join(folder, "report.json");
  try {
    const { status } = spawnSync(
      process.execPath,
      [
        "--experimental-vm-modules",
        path.join(root, "node_modules", "jest", "bin", "jest.js"),
        "--json",
        `--outputFile=${report}`,
        ...process.argv.slice(2),
      ],
      // Jest prints its report for people on stderr, and with --json the one for programs on stdout too.
      {
        cwd: root,
        stdio: ["ignore", "ignore", "inherit"],
        env: { ...process.env, NODE_NO_WARNINGS: "1", ...environment },
      },
    );
    return { status, report: fs.existsSync(report) ? JSON.parse(fs.readFileSync(report, "utf8")) : undefined };
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

async function main() {
  const noNative = await prepareNative();
  if (noNative) console.log(`Without native TensorFlow: ${noNative}`);
  const { status, report } = runJest(noNative ? { FROZEN_EVAL_NO_NATIVE: noNative } : {});
  if (!report) return status || 1;
  const skipped = report.numPendingTests + report.numTodoTests;
  // A file that does not even load has no tests to count.
  const failed = report.numFailedTests + report.numRuntimeErrorTestSuites;
  if (strict && skipped > 0) {
    console.log("With CI=true no test may be skipped:");
    for (const { assertionResults } of report.testResults) {
      for (const { fullName, status: state } of assertionResults) {
        if (state === "pending" || state === "todo") console.log(`  ${fullName}`);
      }
    }
  }
  console.log(`${report.numPassedTests} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  if (status !== 0) return status ?? 1;
  return strict && (noNative || skipped > 0) ? 1 : 0;
}

main().then(
  (code) => (process.exitCode = code),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
