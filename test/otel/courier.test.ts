import { describe, expect, test } from "vitest";

import type { Answer } from "../../src/otel/answer.ts";
import { settle } from "./clocks.ts";
import {
  ABSENT,
  ACCEPTED,
  bench,
  BROKEN,
  FORBIDDEN,
  numbers,
  REFUSED,
  UNREACHABLE,
  watch,
} from "./courier-bench.ts";

describe("a backend that cannot be reached", () => {
  test("is tried again with growing waits until it takes the batch, whose bytes are made once", async () => {
    const { clock, courier, sent, encoded, lines } = bench((_, index) =>
      index < 9 ? UNREACHABLE : ACCEPTED,
    );
    const seen = watch(courier.deliver(["a", "b"]));
    await clock.advance(200_000);
    expect(seen.result).toEqual({ delivered: 2, discarded: 0, failed: [] });
    const waits = sent.slice(1).map(({ at }, index) => Math.round((at - sent[index]!.at) / 100) * 100);
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    expect(encoded).toEqual(["a b"]);
    expect(lines).toEqual([
      expect.stringMatching(/^WARN .*cannot be delivered now.*ECONNREFUSED/),
      expect.stringMatching(/^INFO .*answers to the metrics again/),
    ]);
  });

  test("is tried after a share of the wait that chance decides, but not at once", async () => {
    const shares = [0, 0.5, 0.25];
    const { clock, courier, sent } = bench(() => UNREACHABLE, { random: () => shares.shift() ?? 0 });
    void courier.deliver(["a"]);
    await clock.advance(1_100);
    expect(sent.map(({ at }) => at)).toEqual([0, 50, 550, 1050, 1100]);
  });

  test("is never given up while the input lives", async () => {
    const { clock, courier } = bench(() => UNREACHABLE);
    const seen = watch(courier.deliver(["a"]));
    await clock.advance(7 * 24 * 3_600_000);
    expect(seen.result).toBeUndefined();
  });

  test("is waited for as long as it asks", async () => {
    const { clock, courier, sent } = bench((_, index) =>
      index === 0 ? { kind: "retry", cause: "http 429", message: "", afterMs: 90_000 } : ACCEPTED,
    );
    const seen = watch(courier.deliver(["a"]));
    await clock.advance(89_999);
    expect(sent).toHaveLength(1);
    await clock.advance(1);
    expect(sent).toHaveLength(2);
    expect(seen.result?.delivered).toBe(1);
  });
});

test("a batch of nothing is not sent", async () => {
  const { courier, sent } = bench(() => ACCEPTED);
  expect(await courier.deliver([])).toEqual({ delivered: 0, discarded: 0, failed: [] });
  expect(sent).toEqual([]);
});

describe("a batch that is refused", () => {
  test.each([0, 1, 49, 98, 99])(
    "loses the one span that is bad, number %i of 100, and no other",
    async (bad) => {
      const { courier } = bench((records) => (records.includes(`r${bad}`) ? REFUSED : ACCEPTED));
      expect(await courier.deliver(numbers(100))).toEqual({
        delivered: 99,
        discarded: 0,
        failed: [{ reason: "refused", message: "http 400: bad span", count: 1, records: [`r${bad}`] }],
      });
    },
  );

  test("is not sent again as it was", async () => {
    const { courier, sent } = bench((records) => (records.includes("r0") ? REFUSED : ACCEPTED));
    await courier.deliver(numbers(8));
    expect(sent.map(({ records }) => records)).toEqual([
      "r0 r1 r2 r3 r4 r5 r6 r7",
      "r0 r1 r2 r3",
      "r0 r1",
      "r0",
      "r1",
      "r2 r3",
      "r4 r5 r6 r7",
    ]);
  });

  test("because of its size is split until it fits; one that is too large alone is given up", async () => {
    const { courier } = bench((records) =>
      records.length > 2 || records.includes("r5")
        ? { kind: "split", cause: "http 413", message: "", tooLarge: true }
        : ACCEPTED,
    );
    expect(await courier.deliver(numbers(8))).toEqual({
      delivered: 7,
      discarded: 0,
      failed: [{ reason: "too_large", message: "http 413", count: 1, records: ["r5"] }],
    });
  });

  test("is taken apart further where a record has parts", async () => {
    const { courier } = bench(
      (records) => (records.some((one) => one.includes("bad")) ? REFUSED : ACCEPTED),
      {
        freight: {
          divide: (record) => record.split("+"),
          count: (record) => record.split("+").length,
        },
      },
    );
    expect(await courier.deliver(["a+b", "c+bad+d", "e"])).toEqual({
      delivered: 5,
      discarded: 0,
      failed: [{ reason: "refused", message: "http 400: bad span", count: 1, records: ["bad"] }],
    });
  });

  test("because a record cannot be serialized loses that record alone", async () => {
    const { courier, sent } = bench(() => ACCEPTED, {
      freight: {
        encode: (records) => {
          if (records.includes("poison")) throw new RangeError("invalid time");
          return Buffer.from(records.join(" "));
        },
      },
    });
    expect(await courier.deliver(["a", "poison", "b", "c"])).toEqual({
      delivered: 3,
      discarded: 0,
      failed: [{ reason: "serialize", message: "RangeError: invalid time", count: 1, records: ["poison"] }],
    });
    expect(sent.map(({ records }) => records)).toEqual(["a", "b c"]);
  });
});

describe("a backend that fails over a batch", () => {
  test.each([
    [9, { delivered: 1, discarded: 0, failed: [] }],
    [
      10,
      {
        delivered: 0,
        discarded: 0,
        failed: [{ reason: "server_error", message: "http 500: oops", count: 1, records: ["a"] }],
      },
    ],
  ])("%i times: a single span is given up at the tenth and not before", async (times, result) => {
    const { clock, courier, sent } = bench((_, index) => (index < times ? BROKEN : ACCEPTED));
    const seen = watch(courier.deliver(["a"]));
    await clock.advance(300_000);
    expect(seen.result).toEqual(result);
    expect(sent).toHaveLength(10);
  });

  test("ten times is sent in halves, so that the good half arrives", async () => {
    const { clock, courier, sent } = bench((records) => (records.includes("b") ? BROKEN : ACCEPTED));
    const seen = watch(courier.deliver(["a", "b"]));
    await clock.advance(300_000);
    expect(sent.map(({ records }) => records)).toEqual([
      ...Array.from({ length: 10 }, () => "a b"),
      "a",
      ...Array.from({ length: 10 }, () => "b"),
    ]);
    expect(seen.result).toMatchObject({ delivered: 1, failed: [{ reason: "server_error", records: ["b"] }] });
  });

  test("not ten times in a row, but with an outage in between, keeps the span", async () => {
    const { clock, courier } = bench((_, index) =>
      index === 20 ? ACCEPTED : index % 10 === 9 ? UNREACHABLE : BROKEN,
    );
    const seen = watch(courier.deliver(["a"]));
    await clock.advance(600_000);
    expect(seen.result?.delivered).toBe(1);
  });
});

describe("a partial success", () => {
  test("counts what was rejected, knows not which, and is not sent again", async () => {
    const { courier, sent, lines } = bench(() => ({ kind: "partial", rejected: 2, message: "too old" }));
    expect(await courier.deliver(numbers(5))).toEqual({
      delivered: 3,
      discarded: 0,
      failed: [{ reason: "rejected", message: "too old", count: 2, records: undefined }],
    });
    expect(sent).toHaveLength(1);
    expect(lines).toEqual([
      expect.stringMatching(/^ERROR .*given up.*reason=rejected count=2 message="too old"/),
    ]);
  });

  test.each([5, 6])("that rejects %i of 5 names them all", async (rejected) => {
    const { courier } = bench(() => ({ kind: "partial", rejected, message: "" }));
    expect(await courier.deliver(numbers(5))).toEqual({
      delivered: 0,
      discarded: 0,
      failed: [{ reason: "rejected", message: "", count: 5, records: numbers(5) }],
    });
  });
});

describe("a wrong configuration", () => {
  test("is tried every 30 seconds, told once, visible, and loses nothing when it is mended", async () => {
    const { clock, courier, sent, lines, state } = bench((_, index) => (index < 4 ? FORBIDDEN : ACCEPTED));
    const seen = watch(courier.deliver(["a"]));
    await clock.advance(119_999);
    expect(sent.map(({ at }) => at)).toEqual([0, 30_000, 60_000, 90_000]);
    expect(state.phase).toBe("misconfigured");
    expect(lines).toEqual([expect.stringMatching(/^ERROR .*check endpoint.*http 401/)]);
    await clock.advance(1);
    expect(seen.result?.delivered).toBe(1);
    expect(state.phase).toBe("delivering");
    expect(lines).toHaveLength(2);
  });
});

describe("a signal that the backend does not know", () => {
  test("is switched off when another one was accepted before", async () => {
    const { courier, acceptance, state, lines, sent } = bench(() => ABSENT);
    acceptance.accept("traces");
    expect(await courier.deliver(["a"])).toEqual({ delivered: 0, discarded: 1, failed: [] });
    expect(await courier.deliver(["b"])).toEqual({ delivered: 0, discarded: 1, failed: [] });
    expect(state.phase).toBe("off");
    expect(sent).toHaveLength(1);
    expect(lines).toEqual([expect.stringMatching(/^WARN .*knows no metrics.*OTEL_METRICS_EXPORTER=none/)]);
  });

  test("is switched off as soon as another one is accepted, without an error told", async () => {
    const { clock, courier, acceptance, lines } = bench(() => ABSENT);
    const seen = watch(courier.deliver(["a"]));
    await clock.advance(900);
    acceptance.accept("traces");
    await settle();
    expect(seen.result).toEqual({ delivered: 0, discarded: 1, failed: [] });
    expect(lines).toEqual([expect.stringMatching(/^WARN /)]);
  });

  test("is a wrong configuration as long as no other is accepted", async () => {
    const { clock, courier, lines, sent } = bench(() => ABSENT);
    const seen = watch(courier.deliver(["a"]));
    await clock.advance(31_000);
    expect(sent.map(({ at }) => at)).toEqual([0, 1_000, 31_000]);
    expect(lines).toEqual([expect.stringMatching(/^ERROR .*http 404/)]);
    expect(seen.result).toBeUndefined();
  });

  test("is kept when it was known before, whatever a proxy says in between", async () => {
    const { clock, courier, acceptance, state } = bench((_, index) => (index === 1 ? ABSENT : ACCEPTED));
    acceptance.accept("traces");
    await courier.deliver(["a"]);
    const seen = watch(courier.deliver(["b"]));
    await settle();
    expect(state.phase).toBe("misconfigured");
    await clock.advance(30_000);
    expect(seen.result?.delivered).toBe(1);
  });
});

describe("when the input has ended", () => {
  test("the waits begin small again and stay below five seconds", async () => {
    const { clock, courier, sent } = bench(() => UNREACHABLE);
    void courier.deliver(["a"]);
    await clock.advance(100_000);
    courier.finish(60_000);
    await settle();
    const before = sent.length;
    await clock.advance(17_500);
    const times = sent.slice(before - 1).map(({ at }) => at);
    const waits = times.slice(1).map((at, index) => Math.round((at - times[index]!) / 100) * 100);
    expect(waits).toEqual([500, 1000, 2000, 4000, 5000, 5000]);
  });

  test("what waits is tried at once, and given up with its reason when the time is over", async () => {
    const { clock, courier, sent } = bench(() => UNREACHABLE);
    const seen = watch(courier.deliver(numbers(3)));
    await clock.advance(20_000);
    const before = sent.length;
    courier.finish(60_000);
    await settle();
    expect(sent).toHaveLength(before + 1);
    await clock.advance(59_999);
    expect(seen.result).toBeUndefined();
    await clock.advance(1);
    expect(seen.result).toEqual({
      delivered: 0,
      discarded: 0,
      failed: [
        { reason: "undelivered", message: "ECONNREFUSED: nobody listens", count: 3, records: numbers(3) },
      ],
    });
    // It is not asleep when the backend comes back at the last moment.
    expect(sent.at(-1)!.at).toBeGreaterThan(74_000);
  });

  test("no request may take longer than the time that is left", async () => {
    const { clock, courier, sent } = bench(() => UNREACHABLE);
    courier.finish(4_000);
    void courier.deliver(["a"]);
    await clock.advance(1_000);
    expect(sent.map(({ at, withinMs }) => Math.round(at + withinMs))).toEqual(sent.map(() => 4_000));
  });

  test("a wait that the backend asked for is kept, and not waited out when it is too long", async () => {
    const retry: Answer = { kind: "retry", cause: "http 503", message: "", afterMs: 10_000 };
    const { clock, courier, sent } = bench(() => retry);
    const seen = watch(courier.deliver(["a"]));
    await settle();
    courier.finish(15_000);
    await clock.advance(9_999);
    expect(sent).toHaveLength(1);
    await clock.advance(1);
    expect(sent).toHaveLength(2);
    expect(seen.result).toMatchObject({ failed: [{ reason: "undelivered", message: "http 503" }] });
  });

  test("a later finish shortens the time and never lengthens it", async () => {
    const { clock, courier } = bench(() => UNREACHABLE);
    const seen = watch(courier.deliver(["a"]));
    courier.finish(10_000);
    courier.finish(5_000);
    courier.finish(60_000);
    await clock.advance(5_000);
    expect(seen.result?.failed).toHaveLength(1);
  });
});

test("what is abandoned while it waits is discarded, what is on the wire is not", async () => {
  const answers: ((value: Answer) => void)[] = [];
  const { clock, courier } = bench((_, index) =>
    index === 0
      ? UNREACHABLE
      : new Promise<Answer>((resolve) => {
          answers.push(resolve);
        }),
  );
  const waiting = new AbortController();
  const flying = new AbortController();
  const first = watch(courier.deliver(["a"], waiting.signal));
  await settle();
  waiting.abort();
  await settle();
  expect(first.result).toEqual({ delivered: 0, discarded: 1, failed: [] });
  const second = watch(courier.deliver(["b"], flying.signal));
  await settle();
  flying.abort();
  await clock.advance(5_000);
  expect(second.result).toBeUndefined();
  answers[0]?.(ACCEPTED);
  await settle();
  expect(second.result).toEqual({ delivered: 1, discarded: 0, failed: [] });
});
