import { defineConfig } from "vitest/config";

const programTests = [
  "test/cli/**/*.test.ts",
  "test/e2e/**/*.test.ts",
  "test/package.test.ts",
  "test/program.test.ts",
];

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: "unit", include: ["test/**/*.test.ts"], exclude: programTests } },
      // These run what is built, and so wait for it: a unit test never does.
      { extends: true, test: { name: "program", include: programTests, globalSetup: "test/build.ts" } },
    ],
    // Two cores shared with a build: slow is not wrong.
    // A long trial may take all of its time and some more.
    testTimeout: 30_000 + 2_000 * Number(process.env["TRIAL_SECONDS"] ?? 0),
    hookTimeout: 60_000,
  },
});
