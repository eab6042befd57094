#!/usr/bin/env node
// The oldest Node.js there is must get far enough to say which one is needed. So this file imports
// nothing, has no syntax younger than `import()`, and the program is loaded only when it can run.
import type * as program from "./main.ts";

const parts = process.version.slice(1).split(".").map(Number);
const major = parts[0] as number;

if (major < 22 || (major === 22 && (parts[1] as number) < 15)) {
  process.stderr.write("behest-otel: needs Node.js 22.15 or newer, this is " + process.version + "\n");
  process.exitCode = 2;
} else {
  // Compiled code is kept between two starts; without a place to keep it nothing is lost.
  process.getBuiltinModule("node:module").enableCompileCache();
  void import("./main.ts").then(function (loaded: typeof program) {
    return loaded.main(process.argv.slice(2));
  });
}
