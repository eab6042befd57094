import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { DECODE_CODES } from "../../src/event/codes.ts";
import { DEFAULT_MAX_LINE_BYTES } from "../../src/event/lines.ts";
import { isSecretName } from "../../src/event/secrets.ts";
import { decode } from "./wire-lines.ts";

const page = readFileSync(new URL("../../docs/input.md", import.meta.url), "utf8");

it("docs/input.md has every code with its meaning, and no other", () => {
  const rows = [...page.matchAll(/^\| `(BEHEST_\w+)` \| (.+) \|$/gm)].map(([, code, meaning]) => [
    code,
    meaning,
  ]);
  expect(Object.fromEntries(rows)).toEqual(DECODE_CODES);
});

it("docs/input.md says the limits that hold", () => {
  expect(page).toContain(`${DEFAULT_MAX_LINE_BYTES.toLocaleString("en-US")} bytes`);
  expect(page).toContain("at most 1,024 characters");
  expect(page).toContain("at most 128 arrays");
});

it("the forms in docs/input.md are decoded as it says", () => {
  const forms = [...page.matchAll(/^\| (?:bare|with fields beside it|envelope) \| `(.+)` \|$/gm)].map(
    ([, form = ""]) =>
      form
        .replaceAll('"run_id":"…"', '"run_id":"6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3"')
        .replaceAll('"timestamp":"…"', '"timestamp":"2026-06-21T00:00:00Z"')
        .replaceAll(
          "{…}",
          '{"run_id":"6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3","timestamp":"2026-06-21T00:00:00Z"}',
        ),
  );
  expect(forms).toHaveLength(3);
  for (const form of forms) expect(decode(form)).toMatchObject({ type: "RunCancelled" });
  expect(decode(forms[1])).toMatchObject({ around: { agent: "planner" } });
  expect(decode(forms[2])).toMatchObject({ around: { seq: 7 } });
});

it("the names in docs/input.md are secret, or are not, as it says", () => {
  const names = [...(/named like a secret \(([^;]+);/s.exec(page)?.[1] ?? "").matchAll(/`(\w+)`/g)].map(
    ([, name = ""]) => name,
  );
  expect(names.length).toBeGreaterThan(5);
  expect(names.filter((name) => !isSecretName(name))).toEqual([]);
  expect(isSecretName("max_tokens")).toBe(false);
});
