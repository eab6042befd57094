import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  runSpanId,
  spanIdFromDigest,
  spanIdOf,
  targetSpanId,
  traceIdOf,
  traceparentOf,
  type SpanKindName,
} from "../../src/otel/ids.ts";
import { seeded } from "../viewer/seeded.ts";
import { PARENT, RUN_ID } from "./span-samples.ts";

const DOCUMENT = readFileSync(new URL("../../docs/identity.md", import.meta.url), "utf8");

interface Vector {
  readonly runId: string;
  readonly segment: string;
  readonly kind: SpanKindName;
  readonly key: string;
  readonly occurrence: number;
  readonly traceId: string;
  readonly spanId: string;
}

function publishedVectors(): readonly Vector[] {
  const rows = DOCUMENT.split("\n").filter((line) => /^\| `[0-9a-f]{8}-/.test(line));
  return rows.map((row) => {
    const cells = row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll("`", ""));
    const [runId = "", segment = "", kind = "", key = "", occurrence = "", traceId = "", spanId = ""] = cells;
    return {
      runId,
      segment,
      kind: kind as SpanKindName,
      key: JSON.parse(key) as string,
      occurrence: Number(occurrence),
      traceId,
      spanId,
    };
  });
}

/** The contract as its text says it, byte by byte, with nothing of the product in it. */
function byTheBook({ runId, segment, kind, key, occurrence }: Vector): string {
  const fields = ["behest-otel/1", runId, segment, kind, key, String(occurrence)];
  const bytes = fields.flatMap((field, at) =>
    (at === 0 ? [] : [0]).concat(...Buffer.from(field.toWellFormed())),
  );
  return createHash("sha256").update(Buffer.from(bytes)).digest().subarray(0, 8).toString("hex");
}

describe("the published test vectors", () => {
  const vectors = publishedVectors();

  test("cover segments, repeated call ids, text beyond ASCII and zero bytes", () => {
    expect(vectors).toHaveLength(14);
    expect(vectors.some(({ segment }) => segment !== "")).toBe(true);
    expect(vectors.some(({ kind, occurrence }) => kind === "tool" && occurrence > 0)).toBe(true);
    expect(vectors.some(({ key }) => /[^\0-\x7f]/.test(key))).toBe(true);
    expect(vectors.some(({ key }) => key.includes("\0"))).toBe(true);
  });

  test.each(vectors)("$kind $key $occurrence of segment '$segment' of $runId", (vector) => {
    expect(traceIdOf(vector.runId)).toBe(vector.traceId);
    expect(vector.runId.replaceAll("-", "")).toBe(vector.traceId);
    expect(spanIdOf(vector)).toBe(vector.spanId);
    expect(byTheBook(vector)).toBe(vector.spanId);
  });

  test("the traceparent that the document shows is the one made for that tool", () => {
    expect(DOCUMENT).toContain(`\n${traceparentOf(RUN_ID, { tool: "call_1", sampled: true })}\n`);
  });
});

test("no two keys share a span id, whatever is in them", () => {
  const key = fc.record({
    segment: fc.constantFrom("", "1", "1763812345123456789"),
    kind: fc.constantFrom("run" as const, "model" as const, "tool" as const),
    key: fc.string({ unit: fc.constantFrom("0", "1", "\0", "t", "run", "é") }),
    occurrence: fc.nat(11),
  });
  fc.assert(
    fc.property(key, key, (a, b) => {
      fc.pre(JSON.stringify(a) !== JSON.stringify(b));
      expect(spanIdOf({ runId: RUN_ID, ...a })).not.toBe(spanIdOf({ runId: RUN_ID, ...b }));
    }),
    seeded(),
  );
});

test("eight zero bytes are no span id: the next eight are taken", () => {
  const zero = "0".repeat(16);
  expect(spanIdFromDigest(`${zero}00000000000000ff${zero}${zero}`)).toBe("00000000000000ff");
  expect(spanIdFromDigest(`${zero}${zero}${zero}00000000000000fe`)).toBe("00000000000000fe");
  expect(() => spanIdFromDigest(zero.repeat(4))).toThrow("nothing but zero bytes");
});

describe("a traceparent", () => {
  const traceId = traceIdOf(RUN_ID);

  test("names the run's own span, a tool or a model call", () => {
    const tool = spanIdOf({ runId: RUN_ID, segment: "", kind: "tool", key: "call_1", occurrence: 0 });
    const again = spanIdOf({ runId: RUN_ID, segment: "", kind: "tool", key: "call_1", occurrence: 2 });
    const model = spanIdOf({ runId: RUN_ID, segment: "", kind: "model", key: "3", occurrence: 0 });
    expect(traceparentOf(RUN_ID, { sampled: true })).toBe(`00-${traceId}-${runSpanId(RUN_ID, "")}-01`);
    expect(traceparentOf(RUN_ID, { tool: "call_1", sampled: true })).toBe(`00-${traceId}-${tool}-01`);
    expect(traceparentOf(RUN_ID, { tool: "call_1", occurrence: 2, sampled: true })).toBe(
      `00-${traceId}-${again}-01`,
    );
    expect(traceparentOf(RUN_ID, { model: 3, sampled: true })).toBe(`00-${traceId}-${model}-01`);
  });

  test("says when the run is not sampled", () => {
    expect(traceparentOf(RUN_ID, { sampled: false })).toBe(`00-${traceId}-${runSpanId(RUN_ID, "")}-00`);
  });

  test("stands in the remote parent's trace, with the same span id", () => {
    expect(traceparentOf(RUN_ID, { tool: "call_1", parent: PARENT, sampled: true })).toBe(
      `00-${PARENT.traceId}-${targetSpanId(RUN_ID, "", { tool: "call_1" })}-01`,
    );
  });

  test("of a later segment differs from that of the first", () => {
    const later = traceparentOf(RUN_ID, { segment: "1763812345123456789", sampled: true });
    expect(later).toBe(`00-${traceId}-${runSpanId(RUN_ID, "1763812345123456789")}-01`);
    expect(later).not.toBe(traceparentOf(RUN_ID, { sampled: true }));
  });
});
