import { existsSync, readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { PAGES } from "../docs/generate.ts";
import * as semconv from "../src/otel/semconv.ts";

test.each(Object.entries(PAGES))("docs/%s is what `npm run docs` writes", (file, page) => {
  expect(readFileSync(new URL(`../docs/${file}`, import.meta.url), "utf8")).toBe(page());
});

test("docs/spans.md names no attribute that there is not", () => {
  const page = readFileSync(new URL("../docs/spans.md", import.meta.url), "utf8");
  const said = new Set<string>();
  let last = "";
  for (const [, name = ""] of page.matchAll(/`((?:gen_ai|behest|error)?\.[a-z_.]+)`/g)) {
    // `.output_tokens` after `gen_ai.usage.input_tokens` goes on from the namespace before it.
    if (!name.startsWith(".")) last = name;
    const namespace = last.slice(0, last.lastIndexOf("."));
    said.add(name.startsWith(".") ? `${namespace}${name}` : name);
  }
  const known: readonly string[] = Object.values(semconv).filter((name) => typeof name === "string");
  expect([...said].filter((name) => !known.includes(name)).toSorted()).toEqual([
    "gen_ai.usage.cache_creation.input_tokens",
  ]);
});

test("docs/delivery.md names no test that there is not", () => {
  const page = readFileSync(new URL("../docs/delivery.md", import.meta.url), "utf8");
  const named = [...page.matchAll(/`(test\/[^`\s]+)`/g)].map(([, path = ""]) => path);
  expect(named.length).toBeGreaterThan(50);
  expect(named.filter((path) => !existsSync(new URL(`../${path}`, import.meta.url)))).toEqual([]);
});
