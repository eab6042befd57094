import { describe, expect, test } from "vitest";

import { createAcceptance } from "../../src/otel/acceptance.ts";
import { ABSENT, ACCEPTED, bench, FORBIDDEN, REFUSED, UNREACHABLE, watch } from "./courier-bench.ts";

test("a backend that comes and goes is told of once a minute, not at every turn", async () => {
  const { clock, courier, lines } = bench((_, index) => (index % 2 === 0 ? UNREACHABLE : ACCEPTED));
  for (let turn = 0; turn < 100; turn += 1) {
    const seen = watch(courier.deliver(["a"]));
    await clock.advance(1_000);
    expect(seen.result?.delivered).toBe(1);
  }
  expect(lines.filter((line) => line.startsWith("WARN"))).toHaveLength(2);
  expect(lines.filter((line) => line.startsWith("INFO"))).toHaveLength(2);
});

test("a warning of the backend is told when it is new", async () => {
  const { courier, lines } = bench((_, index) => ({ kind: "accepted", warning: index < 3 ? "old" : "new" }));
  for (let turn = 0; turn < 5; turn += 1) await courier.deliver(["a"]);
  expect(lines).toEqual([
    expect.stringMatching(/^WARN .*message=old/),
    expect.stringMatching(/^WARN .*message=new/),
  ]);
});

test("losses are told once a minute and reason, however many there are", async () => {
  const { clock, courier, lines } = bench(() => REFUSED);
  for (let turn = 0; turn < 61; turn += 1) {
    await courier.deliver(["a"]);
    await clock.advance(1_000);
  }
  expect(lines).toEqual([
    expect.stringMatching(/^ERROR .*given up.*reason=refused count=1/),
    expect.stringMatching(/^ERROR .*given up.*reason=refused count=1/),
  ]);
});

test("the phase is what the last answer was, and how long it has been that is told", async () => {
  const answers = [UNREACHABLE, FORBIDDEN, ACCEPTED];
  const { clock, courier, state } = bench((_, index) => answers[index] ?? ACCEPTED);
  const phases = [state.phase];
  const seen = watch(courier.deliver(["a"]));
  for (const ms of [0, 500, 30_000]) {
    await clock.advance(ms);
    phases.push(state.phase);
  }
  expect(phases).toEqual(["idle", "retrying", "misconfigured", "delivering"]);
  expect(state.forSeconds).toBeCloseTo(0, 3);
  await clock.advance(7_000);
  expect(state.forSeconds).toBeCloseTo(7, 3);
  expect(seen.result?.delivered).toBe(1);
});

test("an outage in the middle of a wrong configuration adds no line", () => {
  const { state, lines } = bench(() => ACCEPTED);
  state.misconfigured(FORBIDDEN);
  state.failing(UNREACHABLE);
  expect(lines).toEqual([expect.stringMatching(/^ERROR /)]);
  expect(state.phase).toBe("retrying");
});

test("a signal that is switched off stays off", () => {
  const { state, lines } = bench(() => ACCEPTED);
  for (let turn = 0; turn < 2; turn += 1) {
    state.switchOff(ABSENT);
    state.accepted();
    state.failing(UNREACHABLE);
    state.misconfigured(FORBIDDEN);
    expect(state.phase).toBe("off");
  }
  expect(lines).toEqual([expect.stringMatching(/^WARN .*switched off/)]);
});

describe("which signals were accepted", () => {
  test("is heard once per signal", () => {
    const acceptance = createAcceptance();
    let heard = 0;
    acceptance.listen(() => (heard += 1));
    for (const signal of ["traces", "traces", "metrics", "traces"] as const) acceptance.accept(signal);
    expect(heard).toBe(2);
  });

  test("tells another signal's acceptance from one's own", () => {
    const acceptance = createAcceptance();
    expect(acceptance.byOther("traces")).toBe(false);
    acceptance.accept("traces");
    expect(acceptance.byOther("traces")).toBe(false);
    expect(acceptance.byOther("metrics")).toBe(true);
  });
});
