import { headers } from "@nats-io/transport-node";
import { describe, expect, test } from "vitest";

import { outsideOf, parseReply } from "../../../src/source/nats/answer.ts";
import { bucketOf } from "../../../src/source/nats/bucket.ts";
import type { Chunk } from "../../../src/source/nats/chunk-log.ts";
import { isWithin, overlap } from "../../../src/source/nats/consumer.ts";
import { CHUNK_REFERENCE_BYTES, formatHead, parseHead } from "../../../src/source/nats/head.ts";

const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

describe("the reply subject of a message", () => {
  const read = { sequence: 7, delivered: 3, appendedMs: 1_795_374_241_409 };

  test("is read in both of its forms", () => {
    expect(parseReply("$JS.ACK.S.d.1.7.3.1795374241409212432.0")).toEqual(read);
    expect(parseReply("$JS.ACK.hub.ACCOUNT.S.d.1.7.3.1795374241409212432.0.x")).toEqual(read);
  });

  test.each(["", "_INBOX.abc", "$JS.ACK.S.d.1.7", "$JS.ACK.S.d.1.x.3.1795374241409212432.0"])(
    "%j is none",
    (reply) => {
      expect(parseReply(reply)).toBeUndefined();
    },
  );
});

describe("the headers of a message", () => {
  test("name the parent and the agent, in any case", () => {
    const said = headers();
    said.append("Traceparent", TRACEPARENT);
    said.append("tracestate", "a=1");
    said.append("tracestate", "b=2");
    said.append("BEHEST-AGENT", " researcher ");
    expect(outsideOf(said)).toEqual({
      agent: "researcher",
      parent: {
        traceId: "0af7651916cd43dd8448eb211c80319c",
        spanId: "b7ad6b7169203331",
        flags: 1,
        tracestate: "a=1,b=2",
      },
    });
  });

  test("that are malformed or say nothing of this are as none", () => {
    const said = headers();
    said.append("traceparent", "00-zz");
    said.append("Behest-Agent", "x".repeat(1_025));
    said.append("Nats-Msg-Id", "1");
    expect(outsideOf(said)).toBeUndefined();
    expect(outsideOf(undefined)).toBeUndefined();
  });

  test("may hold a name of 1,024 characters", () => {
    const said = headers();
    said.append("Behest-Agent", "x".repeat(1_024));
    expect(outsideOf(said)?.agent).toHaveLength(1_024);
  });
});

test.each([
  ["behest.events", "behest.events", true],
  ["behest.events", "behest.*", true],
  ["behest.*", "behest.events", false],
  ["behest.*", "behest.*", true],
  ["behest.>", "behest.*", false],
  ["behest.>", "behest.>", true],
  ["behest.a.b", "behest.>", true],
  ["behest", "behest.>", false],
  ["behest.a", "behest.a.b", false],
  ["behest.a.b", "behest.a", false],
])("that %s lies within %s is %s", (inner, outer, expected) => {
  expect(isWithin(inner, outer)).toBe(expected);
});

test("a bucket is named after its stream, whatever that has for a name", () => {
  expect(bucketOf("BEHEST")).toBe("behest-otel-BEHEST");
  expect(bucketOf("a:b+ü")).toBe("behest-otel-a_3a_b_2b__fc_");
});

describe("the head of a state", () => {
  const chunk: Chunk = { epoch: 2 ** 31, number: 2 ** 40, bytes: 2 ** 30, revisions: [2 ** 45] };
  const head = { epoch: 3, writer: "w", commit: 9, chunks: [chunk, { ...chunk, number: 1 }] };

  test("is read as it was written", () => {
    expect(parseHead(formatHead(head), "state")).toEqual(head);
  });

  test("takes less for a chunk than it is counted with", () => {
    const more = formatHead({ ...head, chunks: [...head.chunks, chunk] }).length - formatHead(head).length;
    expect(more).toBeLessThan(CHUNK_REFERENCE_BYTES);
  });

  test.each([
    ["another version", '{"version":2,"epoch":1}', "has version 2, expected 1"],
    ["something else", "hello", "damaged"],
    ["a broken list", '{"version":1,"epoch":1,"writer":"w","commit":1,"chunks":[[1,2,3]]}', "damaged"],
  ])("of %s is refused with a way out", (_, text, message) => {
    const refusal = expect.objectContaining({
      code: "BEHEST_STATE_OPEN",
      message: expect.stringContaining(message),
    });
    expect(() => parseHead(text, "KV_x/y")).toThrow(refusal);
    expect(() => parseHead(text, "KV_x/y")).toThrow("to begin anew");
  });
});

test.each([
  ["a.b", "a.b", true],
  ["a.b", "a.c", false],
  ["a.b", "a", false],
  ["a.b", "a.*", true],
  ["a.*", "*.b", true],
  ["a.*", "b.*", false],
  ["a.*.c", "*.b.d", false],
  ["a.>", "a.b.c", true],
  ["a.>", "a", false],
  ["a.>", "b.>", false],
  ["*.b", "a.>", true],
  [">", "a", true],
])("%s and %s have a subject in common: %s", (one, other, expected) => {
  expect([overlap(one, other), overlap(other, one)]).toEqual([expected, expected]);
});
