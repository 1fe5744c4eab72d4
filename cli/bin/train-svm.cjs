#!/usr/bin/env node
require("./launch.cjs")(["train-svm", ...process.argv.slice(2)]);
