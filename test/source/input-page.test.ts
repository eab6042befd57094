import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

import { parseNatsSpec } from "../../src/source/nats/spec.ts";
import { parseRedisUrl } from "../../src/source/redis/url.ts";
import { SECRET_VARIABLES } from "../../src/source/spec.ts";

const page = readFileSync(new URL("../../docs/input.md", import.meta.url), "utf8");

function section(title: string): string {
  const from = page.indexOf(`## ${title}`);
  return page.slice(from, page.indexOf("\n## ", from + 1));
}

/** The parameters in the first column of the table. */
function parametersIn(text: string): string[] {
  const rows = text.split("\n").filter((line) => line.startsWith("| `"));
  return rows
    .flatMap((row) => [...row.split("|")[1]!.matchAll(/`([a-z-]+)`/g)].map(([, name]) => name!))
    .toSorted();
}

/** The parameters that a refusal of an unknown one names. */
function parametersOf(refusal: unknown): string[] {
  const [, list = ""] = /expected ([a-z, -]+?)(?:;|$)/.exec(String(refusal)) ?? [];
  return list.split(/, | or /).toSorted();
}

describe("docs/input.md names every parameter of a source, and no other", () => {
  test("of Redis", () => {
    const known = parametersOf(parseRedisUrl("redis://localhost?zzz=1"));
    expect(parametersIn(section("From Redis Streams"))).toEqual(known);
  });

  test("of NATS", () => {
    const known = parametersOf(parseNatsSpec(new URL("nats://localhost?zzz=1")));
    expect(parametersIn(section("From NATS"))).toEqual(known);
  });
});

test.each(SECRET_VARIABLES)("docs/input.md names %s", (variable) => {
  expect(page).toContain(`\`${variable}\``);
});

test.each([
  ["From Redis Streams", (url: string) => parseRedisUrl(url)],
  ["From NATS", (url: string) => parseNatsSpec(new URL(url))],
])("the example of %s is read", (title, read) => {
  const [, url = ""] = /--from '([^']+)'/.exec(section(title)) ?? [];
  expect(read(url)).toMatchObject({ kind: title.includes("Redis") ? "redis" : "nats" });
});

test("the defaults in docs/input.md are those of the sources", () => {
  expect(parseRedisUrl("redis://localhost")).toMatchObject({ stream: "behest:events", group: "behest-otel" });
  const nats = parseNatsSpec(new URL("nats://localhost"));
  expect(nats).toMatchObject({ subject: "behest.events", stream: "BEHEST", durable: "behest-otel" });
  expect(parseNatsSpec(new URL("nats://localhost?mode=core"))).toMatchObject({ subject: "behest.rt.run.*" });
});
