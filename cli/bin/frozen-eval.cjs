#!/usr/bin/env node
require("./launch.cjs")(process.argv.slice(2));
