import { defineConfig } from "vitest/config";

const programTests = ["test/cli/**/*.test.ts", "test/package.test.ts", "test/program.test.ts"];

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: "unit", include: ["test/**/*.test.ts"], exclude: programTests } },
      // These run what is built, and so wait for it: a unit test never does.
      { extends: true, test: { name: "program", include: programTests, globalSetup: "test/build.ts" } },
      // These start the real backends, which `test/e2e/install.sh` installs.
      {
        extends: true,
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.e2e.ts"],
          globalSetup: "test/build.ts",
          // Each starts a stack of its own, and some measure time.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      // These take SOAK_SECONDS each and look at memory, which they collect themselves.
      {
        extends: true,
        test: {
          name: "soak",
          include: ["test/soak/**/*.soak.ts"],
          globalSetup: "test/build.ts",
          fileParallelism: false,
          // The engine would forget at some moment what was compiled, and the heap would shrink by that.
          execArgv: ["--expose-gc", "--no-flush-bytecode"],
        },
      },
    ],
    // Two cores shared with a build: slow is not wrong.
    // A long trial may take all of its time and some more.
    testTimeout: 30_000 + 2_000 * Number(process.env["TRIAL_SECONDS"] ?? 0),
    hookTimeout: 60_000,
  },
});
