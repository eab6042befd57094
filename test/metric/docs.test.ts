import { expect, test } from "vitest";

import { PAGES } from "../../docs/generate.ts";
import { METRICS } from "../../src/metric/table.ts";

test.each(METRICS)("$name stands on the page once, in its own row", ({ name }) => {
  const rows = PAGES["metrics.md"]?.().split("\n") ?? [];
  expect(rows.filter((line) => line.startsWith(`| \`${name}\``))).toHaveLength(1);
});
