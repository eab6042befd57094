import fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { Sink } from "../src/sink-core.ts";
import { createSink } from "../src/sink.ts";
import { hostSdk } from "./bridge/host-sdk.ts";
import { secretRun } from "./bridge/secret-run.ts";
import { SEED } from "./bridge/seeded.ts";
import { closeSinksAfterEach, emitAll, resumed, sinkOn } from "./bridge/sinks.ts";
import * as wire from "./bridge/wire-runs.ts";

closeSinksAfterEach();

/** Everything adds up, whatever was put in. */
function expectBalanced({ stats }: Sink, received: number): void {
  const { used, dropped, rejected } = stats.events;
  const sum = (counts: Readonly<Record<string, number>>) => Object.values(counts).reduce((a, b) => a + b, 0);
  expect(stats.events.received).toBe(received);
  expect(used + sum(dropped) + sum(rejected)).toBe(received);
}

describe("emit never throws", () => {
  const cycle: Record<string, unknown> = {};
  cycle["self"] = cycle;
  const { proxy: revoked, revoke } = Proxy.revocable({}, {});
  revoke();
  const trap = () => {
    throw new Error("trapped");
  };
  const trapped = new Proxy(
    {},
    { get: trap, has: trap, ownKeys: trap, getOwnPropertyDescriptor: trap, getPrototypeOf: trap },
  );
  const run = wire.teller(1);
  const deep = JSON.parse(`${"[".repeat(20_000)}${"]".repeat(20_000)}`) as unknown;
  const hostile: readonly (readonly [string, unknown])[] = [
    ["undefined", undefined],
    ["null", null],
    ["a number", 5],
    ["a string", '{"RunStarted":{}}'],
    ["a function", () => {}],
    ["a symbol", Symbol("x")],
    ["an array", [wire.started(run)]],
    ["a cycle", cycle],
    ["a cycle in arguments", wire.asked(run, "call_1", cycle)],
    ["a bigint in arguments", wire.asked(run, "call_1", { n: 1n })],
    ["a function as output", wire.toolFinished(run, "call_1", { Success: { output: () => {} } })],
    ["arguments that cannot be written", wire.asked(run, "call_1", { toJSON: trap })],
    ["arguments that are 20,000 deep", wire.asked(run, "call_1", deep)],
    ["a revoked proxy", revoked],
    ["a proxy of traps", trapped],
    ["an event with a payload of traps", { RunStarted: trapped }],
    ["an envelope with an event of traps", { event: trapped }],
    ["a getter that throws", Object.defineProperty({}, "TextDelta", { enumerable: true, get: trap })],
    [
      "an id that throws",
      { TextDelta: Object.defineProperty({ delta: "x" }, "run_id", { enumerable: true, get: trap }) },
    ],
    ["an object without prototype", Object.assign(Object.create(null) as object, wire.started(run))],
    ["ten megabytes of text", wire.delta(run, "x".repeat(10_000_000))],
    ["a frozen event", Object.freeze(wire.model(run))],
    ["a Date", new Date()],
    ["a Map", new Map([["RunStarted", {}]])],
  ];

  test.each(hostile)("%s", async (_, value) => {
    const host = hostSdk();
    const sink = sinkOn(host);
    expect(() => sink.emit(value as never)).not.toThrow();
    expect(() => sink.emit(value as never, { traceparent: "no traceparent", agent: "" })).not.toThrow();
    expectBalanced(sink, 2);
    emitAll(sink, wire.standardRun(2, { deltas: 1 }));
    await sink.close();
    expect(() => sink.emit(value as never)).not.toThrow();
    expectBalanced(sink, 3 + wire.standardRun(2, { deltas: 1 }).length);
    expect(
      host.ended.filter(({ attributes }) => attributes["behest.run.id"] === wire.runIdOf(2)),
    ).toHaveLength(7);
  });

  test(`anything at all, around options included (SEED=${SEED})`, () => {
    const sink = sinkOn(hostSdk());
    let received = 0;
    fc.assert(
      fc.property(
        fc.anything({ withBigInt: true, withNullPrototype: true, withMap: true }),
        fc.anything(),
        (event, around) => {
          sink.emit(event as never, around as never);
          sink.emit({ TextDelta: event } as never, around as never);
          received += 2;
        },
      ),
      { seed: SEED, numRuns: 500 },
    );
    expectBalanced(sink, received);
  });

  const bomb = () => {
    throw new Error("the host's own bug");
  };

  test.each([
    ["a processor that throws when a span starts", hostSdk({ onStart: bomb })],
    ["a processor that throws when a span ends", hostSdk({ onEnd: bomb })],
    ["a sampler that throws", hostSdk({ sampler: { shouldSample: bomb, toString: () => "bomb" } })],
  ])("over %s, and counts all the same", async (_, host) => {
    const faults: string[] = [];
    const sink = sinkOn(host, { onFault: (message) => faults.push(message) });
    const events = wire.standardRun(1, { deltas: 1 });
    for (const event of events) expect(() => sink.emit(event as never)).not.toThrow();
    await sink.close();
    expectBalanced(sink, events.length);
    expect(sink.stats.events.used).toBe(events.length);
    expect(sink.stats.runs.completed).toBe(1);
    expect(faults.join()).toContain("the host's own bug");
  });

  test("over a histogram of the host that throws, or a listener to faults", async () => {
    const { meterProvider } = hostSdk();
    const meter = meterProvider.getMeter("x");
    const throwing = new Proxy(meter, {
      get: (target, key) =>
        key === "createHistogram" ? () => ({ record: bomb }) : Reflect.get(target, key).bind(target),
    });
    const sink = sinkOn(hostSdk(), { meterProvider: { getMeter: () => throwing }, onFault: bomb });
    const events = wire.standardRun(1, { deltas: 3 });
    for (const event of events) expect(() => sink.emit(event as never)).not.toThrow();
    await sink.close();
    expect(sink.stats.events).toMatchObject({ received: events.length, used: events.length });
  });

  test("when a processor of the host emits the next event itself", async () => {
    const rest: object[] = [];
    const host = hostSdk({
      onEnd: () => {
        const next = rest.shift();
        if (next !== undefined) sink.emit(next as never);
      },
    });
    const sink = sinkOn(host);
    for (let n = 0; n < 20; n += 1) rest.push(...wire.standardRun(n + 10, { modelCalls: 1, deltas: 1 }));
    const total = rest.length;
    const own = wire.standardRun(1, { deltas: 1 });
    emitAll(sink, own);
    emitAll(sink, rest.splice(0));
    await sink.close();
    expectBalanced(sink, own.length + total);
    expect(sink.stats.events.used).toBe(own.length + total);
    expect(new Set(host.ended.map((span) => span.spanContext().spanId)).size).toBe(7 + 20 * 3);
  });
});

describe("after close", () => {
  test("what a processor of the host emits while the last spans end is dropped as closed too", async () => {
    const late = wire.linesOf(wire.standardRun(2, { modelCalls: 1, deltas: 1 }));
    const host = hostSdk({
      onEnd: () => {
        sink.emit(JSON.parse(late.shift() ?? "null") as never);
        void sink.close();
      },
    });
    const sink = sinkOn(host);
    emitAll(sink, wire.standardRun(1, { deltas: 1 }).slice(0, 5));
    await sink.close();
    expect(sink.stats.openRuns).toBe(0);
    expect(sink.stats.events).toMatchObject({ received: 7, used: 5, dropped: { closed: 2 } });
    expect(host.happened.filter((what) => what.startsWith("end"))).toHaveLength(2);
  });

  test("events are dropped as closed, and the end is the same however often it is asked for", async () => {
    const host = hostSdk();
    const sink = sinkOn(host);
    const events = wire.standardRun(1, { deltas: 1 });
    emitAll(sink, events.slice(0, 6));
    const [first, second] = [sink.close(), sink.close()];
    emitAll(sink, events.slice(6));
    await Promise.all([first, second, sink.close()]);
    expect(first).toBe(second);
    expect(sink.stats.events).toEqual({
      received: events.length,
      used: 6,
      dropped: { closed: events.length - 6 },
      rejected: {},
    });
    expect(sink.stats.runs).toEqual({ completed: 0, failed: 0, cancelled: 0, incomplete: 1 });
    expect(sink.stats.openRuns).toBe(0);
    expect(host.happened.at(-1)).toBe("end invoke_agent");
  });
});

describe("a host whose API is that of 1.3", () => {
  /** An object that has these members and fails over every other. */
  function onlyWith(members: Readonly<Record<string, unknown>>, what: string): never {
    return new Proxy(members, {
      get: (target, key) => {
        if (typeof key === "symbol" || key === "then") return undefined;
        if (!(key in target)) throw new Error(`${what}.${key} is newer than API 1.3`);
        return target[key];
      },
    }) as never;
  }

  test("needs nothing newer of tracers, spans, meters and instruments", async () => {
    const names: string[] = [];
    const readings: string[] = [];
    let callback: ((result: unknown) => void) | undefined;
    const span = (): never => {
      const self: never = onlyWith(
        {
          spanContext: () => ({ traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: 1 }),
          setAttribute: () => self,
          setAttributes: () => self,
          addEvent: () => self,
          setStatus: () => self,
          updateName: () => self,
          end: () => {},
          isRecording: () => true,
          recordException: () => {},
        },
        "Span",
      );
      return self;
    };
    const tracer = onlyWith(
      {
        startSpan: (name: string) => {
          names.push(name);
          return span();
        },
        startActiveSpan: () => {},
      },
      "Tracer",
    );
    const observable = () => onlyWith({ addCallback: () => {}, removeCallback: () => {} }, "Observable");
    const meter = onlyWith(
      {
        createHistogram: () =>
          onlyWith({ record: (value: number) => readings.push(String(value)) }, "Histogram"),
        createCounter: () => onlyWith({ add: () => {} }, "Counter"),
        createUpDownCounter: () => onlyWith({ add: () => {} }, "UpDownCounter"),
        createObservableGauge: observable,
        createObservableCounter: observable,
        createObservableUpDownCounter: observable,
        addBatchObservableCallback: (call: (result: unknown) => void) => (callback = call),
        removeBatchObservableCallback: () => (callback = undefined),
      },
      "Meter",
    );
    const sink = createSink({
      tracerProvider: onlyWith({ getTracer: () => tracer }, "TracerProvider"),
      meterProvider: onlyWith({ getMeter: () => meter, forceFlush: undefined }, "MeterProvider"),
      onFault: (message) => expect(message).toBe(""),
    });
    emitAll(sink, [...secretRun().events, ...resumed()]);
    const observed: unknown[] = [];
    callback?.({ observe: (...point: unknown[]) => observed.push(point) });
    await sink.close();
    expect(names.filter((name) => name === "invoke_agent")).toHaveLength(4);
    expect(observed.length).toBeGreaterThan(50);
    expect(readings.length).toBeGreaterThan(5);
    expect(callback).toBeUndefined();
  });
});
