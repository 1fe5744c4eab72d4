// Tests run as compiled (dist/__tests__), so that worker threads and the built command line are what a user runs.
module.exports = {
  roots: ["<rootDir>/dist/__tests__"],
  testMatch: ["**/*.test.js"],
  testEnvironment: "<rootDir>/dist/__tests__/environment.js",
  modulePathIgnorePatterns: ["<rootDir>/dist/package.json"],
  setupFiles: ["<rootDir>/dist/__tests__/properties.js"],
  transform: {},
  testTimeout: 60000,
  testSequencer: "<rootDir>/__tests__/longest-first.cjs",
  maxWorkers: 2,
};
