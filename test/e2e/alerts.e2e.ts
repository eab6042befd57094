import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { ROOT } from "../cli/program.ts";
import { program } from "./programs.ts";

const PROMETHEUS = join(ROOT, "deploy/prometheus");
const RULES = yamlIn("rules");
const TESTS = yamlIn("tests");

describe.each(["debian-promtool", "promtool"] as const)("%s", (name) => {
  test("takes prometheus.yml, with the rules that it names", () => {
    const said = says(name, ["check", "config", join(PROMETHEUS, "prometheus.yml")]);
    expect(said).toContain(`SUCCESS: ${RULES.length} rule files found`);
  });

  test.each(RULES)("takes %s", (file) => {
    expect(says(name, ["check", "rules", "--lint=all", "--lint-fatal", join(PROMETHEUS, file)])).toMatch(
      /SUCCESS: \d+ rules found/,
    );
  });

  test.each(TESTS)("finds that alerts fire and are silent as %s says", (file) => {
    expect(says(name, ["test", "rules", join(PROMETHEUS, file)])).toContain("SUCCESS");
  });
});

test.each(["debian-amtool", "amtool"] as const)("%s takes alertmanager.yml", (name) => {
  expect(says(name, ["check-config", join(ROOT, "deploy/alertmanager/alertmanager.yml")])).toContain(
    "SUCCESS",
  );
});

/** From the folder of prometheus.yml. */
function yamlIn(folder: string): readonly string[] {
  return readdirSync(join(PROMETHEUS, folder))
    .filter((file) => file.endsWith(".yml"))
    .map((file) => join(folder, file));
}

/** What a program says on both streams; fails with it when the program does not end with 0. */
function says(name: Parameters<typeof program>[0], args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program(name), args, { encoding: "utf8" });
  if (error !== undefined) throw error;
  const said = `${stdout}${stderr}`;
  expect({ status, said: status === 0 ? "" : said }).toEqual({ status: 0, said: "" });
  return said;
}
