#!/usr/bin/env node
require("./launch.cjs")(["eval-linear", ...process.argv.slice(2)]);
