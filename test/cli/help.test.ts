import { readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { configurationPage } from "../../src/cli/options-page.ts";
import { ALL_OPTIONS, COMMANDS, optionsOf } from "../../src/config/options.ts";
import { ROOT, run } from "./program.ts";

describe("--help", () => {
  test.each(["", ...COMMANDS])("of %j is what was read and found good", async (command) => {
    const { status, stdout, stderr } = await run({ args: [command, "--help"].filter((part) => part !== "") });
    expect([status, stderr]).toEqual([0, ""]);
    await expect(stdout).toMatchFileSnapshot(`help/${command === "" ? "program" : command}.txt`);
    expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThan(80);
  });

  test.each(COMMANDS)("of %s shows each of its options once", async (command) => {
    const { stdout } = await run({ args: ["-h", command] });
    const shown = [...stdout.matchAll(/^ {2}--([a-z-]+)/gm)].map(([, name = ""]) => name);
    expect(shown.toSorted()).toEqual(
      optionsOf(command)
        .map(({ name }) => name)
        .toSorted(),
    );
  });

  test("reads neither OpenTelemetry nor zod nor anything else that is large", () => {
    const files = staticallyLoaded(join(ROOT, "dist/bin.js"), ["./chunks/main.js"]);
    files.push(...staticallyLoaded(join(ROOT, "dist/chunks/help.js"), []));
    const bytes = [...new Set(files)].reduce((sum, file) => sum + statSync(file).size, 0);
    expect(bytes).toBeLessThan(64 * 1024);
    for (const file of files) expect(readFileSync(file, "utf8")).not.toMatch(/opentelemetry\/|ZodType/);
  });
});

test("the page about configuration has every option", () => {
  const page = configurationPage();
  for (const { name } of ALL_OPTIONS) expect(page).toMatch(new RegExp(`^### \`--${name}[ \`]`, "m"));
});

/** A built file and all that comes with it, and these of its lazy imports. */
function staticallyLoaded(file: string, lazy: readonly string[]): string[] {
  const found = [...readFileSync(file, "utf8").matchAll(/^(?:import|export)\b[^"]*"(\.[^"]+)";$/gm)].map(
    ([, path]) => path ?? "",
  );
  return [file, ...[...found, ...lazy].flatMap((path) => staticallyLoaded(join(dirname(file), path), []))];
}
