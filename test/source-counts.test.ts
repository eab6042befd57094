import { expect, test } from "vitest";

import { Ledger } from "../src/metric/ledger.ts";
import { sourceCounts } from "../src/source-counts.ts";
import type { RequestRefusal, Source } from "../src/source/source.ts";
import { lines } from "./metric/ops.ts";

test("what a source counts itself goes to the metrics once, beginning with what it had counted before", () => {
  let redelivered = 2;
  const refused = new Map<RequestRefusal, number>([["full", 1]]);
  const source: Source = {
    name: "http",
    keepsOrder: false,
    timed: true,
    open: () => Promise.resolve(),
    next: () => Promise.resolve(undefined),
    close: () => Promise.resolve(),
    get redelivered() {
      return redelivered;
    },
    lost: 4,
    refused,
  };
  const ledger = new Ledger({ source: "http" });
  const tell = sourceCounts(source, ledger);
  tell();
  tell();
  redelivered = 5;
  refused.set("full", 3).set("timeout", 1);
  tell();
  const snapshot = ledger.snapshot("released");
  const counted = ["redelivered", "lost", "refused"].map((name) =>
    lines(snapshot, `behest.bridge.source.${name}`),
  );
  expect(counted).toEqual([
    ["source=http 5"],
    ["source=http 4"],
    ["reason=full,source=http 3", "reason=timeout,source=http 1"],
  ]);
});
