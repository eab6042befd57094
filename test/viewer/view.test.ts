import { describe, expect, test } from "vitest";

import type { Op } from "../../src/run/op.ts";
import { View } from "../../src/viewer/view.ts";
import type { ViewOptions } from "../../src/viewer/view.ts";
import { failedRun, parallelTools, streamedAnswer } from "./sample-runs.ts";
import { BASE, modelSpan, openedOf, opsOf, runFacts, runSpan, toolSpan } from "./span-builder.ts";

const LOOK = { width: 80, colour: false, unicode: true };
const ids = { traceId: () => "", spanId: () => "" };
const ERASE = "\r\x1b[2K";
const BASE_MS = BASE[0] * 1000 + BASE[1] / 1e6;

/** Matches the whole of a text that first empties the line of the status. */
function erasedThen(pattern: string): RegExp {
  return new RegExp(String.raw`^\r\x1b\[2K${pattern}$`);
}

/** A view that writes into a list; its clock stands until it is moved. */
function viewInto(written: string[], options: Partial<ViewOptions> = {}) {
  return new View({
    format: "text",
    look: () => LOOK,
    write: async (text) => {
      written.push(text);
    },
    ids,
    ...options,
  });
}

function opsOfSamples(): Op[] {
  return [parallelTools(), failedRun(), streamedAnswer()].flatMap(({ span, children }) =>
    opsOf(span, children),
  );
}

/** Whether `promise` is done with after the event loop went round once. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  const turn = new Promise((resolve) => setImmediate(resolve, "pending"));
  return (await Promise.race([promise, turn])) !== "pending";
}

/** An output that takes what it is given only when it is told to. */
function stalledOutput() {
  const waiting: (() => void)[] = [];
  const texts: string[] = [];
  const write = (text: string) =>
    new Promise<void>((resolve) => {
      texts.push(text);
      waiting.push(resolve);
    });
  return { texts, write, release: () => waiting.shift()?.() };
}

/** A view with a status line; its clock begins at the base of all times. */
function liveView(written: string[], options: Partial<ViewOptions> = {}) {
  const clock = { ms: BASE_MS };
  const view = viewInto(written, { live: { nowMs: () => clock.ms }, ...options });
  const tickAt = async (ms: number) => {
    clock.ms = BASE_MS + ms;
    await view.tick();
  };
  return { view, tickAt };
}

describe("text", () => {
  test("every run is printed when it has ended, with an empty line between two", async () => {
    const written: string[] = [];
    const view = viewInto(written);
    const { span, children } = parallelTools();
    const ops = opsOf(span, children);
    await view.accept(ops.slice(0, -1));
    expect(written).toEqual([]);
    await view.accept(ops.slice(-1));
    expect(written.join("")).toMatch(/^run {6}018f[^]*1\.1k cached\n$/);
    await view.accept(opsOf(runSpan([0, 1])));
    expect(written.join("")).toContain("1.1k cached\n\nrun      018f");
  });

  test("at the end come the runs still open, the oldest first, and the summary", async () => {
    const written: string[] = [];
    const view = viewInto(written);
    const second = runFacts({ runId: "018f3c1e-7a1b-7000-8000-00000000a00b" });
    await view.accept([
      ...opsOf(runSpan([0, 1]), []).slice(0, 1),
      ...opsOf(runSpan([0, 1], { run: second })).slice(0, 1),
    ]);
    await view.end({ received: 2, used: 2, dropped: {}, rejected: {} });
    expect(written.join("")).toMatch(
      /^run.*a001\n[^]*not finished yet[^]*\n\nrun.*a00b\n[^]*\n\nruns {4}2 · 2 not finished\nevents {2}2 received · 2 used\n$/,
    );
  });

  test("an empty input says so", async () => {
    const written: string[] = [];
    await viewInto(written).end({ received: 0, used: 0, dropped: {}, rejected: {} });
    expect(written.join("")).toBe("no runs\nevents  0 received · 0 used\n");
  });

  test("no escape is written when colour and status line are off", async () => {
    const written: string[] = [];
    const view = viewInto(written);
    await view.accept(opsOfSamples());
    await view.tick();
    await view.end();
    expect(written.join("")).not.toContain("\x1b");
  });

  test("the width is asked for anew", async () => {
    const written: string[] = [];
    let width = 80;
    const view = viewInto(written, { look: () => ({ ...LOOK, width }) });
    await view.accept(opsOf(runSpan([0, 1])));
    width = 120;
    await view.accept(opsOf(runSpan([0, 1])));
    expect(written[1]?.length).toBeGreaterThan(written[0]?.length ?? 0);
  });
});

test("as JSON there is one line a run and no summary", async () => {
  const written: string[] = [];
  const view = viewInto(written, { format: "json" });
  await view.accept(opsOfSamples());
  await view.accept(opsOf(runSpan([0, 1])).slice(0, 1));
  await view.end({ received: 1, used: 1, dropped: {}, rejected: {} });
  const lines = written.join("").trimEnd().split("\n");
  const states = lines.map((line) => (JSON.parse(line) as { state: string }).state);
  expect(states).toEqual(["finished", "finished", "finished", "open"]);
});

describe("a slow or closed output", () => {
  test("is waited for", async () => {
    const { texts, write, release } = stalledOutput();
    const view = viewInto([], { write });
    const accepted = view.accept(opsOf(runSpan([0, 1])));
    await new Promise(setImmediate);
    expect(texts).toHaveLength(1);
    expect(await settled(accepted)).toBe(false);
    release();
    expect(await accepted).toBe("open");
  });

  test("keeps the order of ops given while it stalls", async () => {
    const { texts, write, release } = stalledOutput();
    const view = viewInto([], { write });
    const many = Array.from({ length: 800 }, (_, index) => {
      const runId = `018f3c1e-7a1b-7000-8000-${String(index).padStart(12, "0")}`;
      return opsOf(runSpan([0, 1], { run: runFacts({ runId }) }));
    });
    const accepted = Promise.all([
      view.accept(many.slice(0, 799).flat()),
      view.accept(many.slice(799).flat()),
    ]);
    while (!(await settled(accepted))) release();
    expect(texts.length).toBeGreaterThan(2);
    const order = [...texts.join("").matchAll(/^run {6}\S+-(\d{12})$/gm)].map(([, number]) => Number(number));
    expect(order).toEqual(Array.from({ length: 800 }, (_, index) => index));
  });

  test("ends the view quietly when a write is refused", async () => {
    let calls = 0;
    const view = viewInto([], {
      write: async () => {
        calls += 1;
        throw new Error("EPIPE");
      },
    });
    expect(await view.accept(opsOf(runSpan([0, 1])))).toBe("closed");
    expect(await view.accept(opsOfSamples())).toBe("closed");
    expect(await view.end()).toBe("closed");
    expect(calls).toBe(1);
  });
});

describe("the status line of a terminal", () => {
  test("tells what is open and for how long", async () => {
    const written: string[] = [];
    const { view, tickAt } = liveView(written);
    await tickAt(250);
    await view.accept([
      ...opsOf(runSpan([0, 5000]), []).slice(0, 1),
      { op: "opened", span: openedOf(modelSpan([100, 5000])) },
      { op: "opened", span: openedOf(toolSpan([1000, 5000])) },
    ]);
    await tickAt(3100);
    expect(written).toEqual([
      "waiting for events",
      `${ERASE}1 run open · researcher 3.10s: chat gpt-4o 3.00s, execute_tool search 2.10s`,
    ]);
  });

  test("is drawn at most four times a second", async () => {
    const written: string[] = [];
    const { tickAt } = liveView(written);
    for (let ms = 0; ms <= 1000; ms += 10) await tickAt(ms);
    expect(written).toHaveLength(4);
    await tickAt(1249);
    expect(written).toHaveLength(4);
    await tickAt(1250);
    expect(written).toHaveLength(5);
  });

  test("gives way to a run that has ended, and to the summary", async () => {
    const written: string[] = [];
    const { view, tickAt } = liveView(written);
    await view.accept(opsOf(runSpan([0, 5])).slice(0, 1));
    await tickAt(250);
    await view.accept(opsOf(runSpan([0, 5])).slice(1));
    await tickAt(600);
    await view.end();
    expect(written[0]).toBe("1 run open · researcher 250ms");
    expect(written[1]).toMatch(erasedThen("run {6}018f[^]*\n"));
    expect(written[2]).toBe("waiting for more events");
    expect(written[3]).toMatch(erasedThen("\nruns {5}1[^]*\n"));
    expect(written).toHaveLength(4);
  });

  test("is never as wide as the terminal, and has nothing of the input raw", async () => {
    const written: string[] = [];
    const { view, tickAt } = liveView(written, { look: () => ({ ...LOOK, width: 40 }) });
    const run = runFacts({ agent: "evil\x1b[2J\nagent with a very long name indeed" });
    await view.accept(opsOf(runSpan([0, 5], { run })).slice(0, 1));
    await tickAt(250);
    expect(written).toEqual([String.raw`1 run open · evil\x1b[2J\nagent with a…`]);
  });

  test("has no ages when the events are of another day", async () => {
    const written: string[] = [];
    const { view, tickAt } = liveView(written);
    await view.accept(opsOf(runSpan([0, 5])).slice(0, 1));
    await tickAt(25 * 3600 * 1000);
    expect(written).toEqual(["1 run open · researcher"]);
  });

  test("waits for a write that is under way", async () => {
    const { texts, write, release } = stalledOutput();
    const { view, tickAt } = liveView([], { write });
    const accepted = view.accept(opsOf(runSpan([0, 1])));
    await new Promise(setImmediate);
    await tickAt(1000);
    expect(texts).toHaveLength(1);
    release();
    await new Promise(setImmediate);
    release();
    await accepted;
  });
});
