import { expect, test } from "vitest";
import type { Event } from "../../src/event/event.ts";
import { EVENT_TYPES } from "../../src/event/event.ts";
import { Assembler } from "../../src/run/assembler.ts";
import { HEART_DEFAULTS } from "../../src/run/limits.ts";
import type { Op } from "../../src/run/op.ts";
import { checkInvariants } from "./invariants.ts";
import { perform, type Step } from "./play.ts";
import {
  asked,
  cancelled,
  completed,
  context,
  delta,
  failed,
  HOUR,
  model,
  ORIGIN_MS,
  RUN,
  runId,
  said,
  started,
  storyOf,
  toolFinished,
  toolSaid,
  toolStarted,
  usage,
} from "./story.ts";
import { everyType } from "./table.ts";

const other = storyOf(runId(2));
const asks = [started(0), model(1), asked(2, "a"), usage(3), said(4)];
const poisoned = { ...toolFinished(5, "z"), result: undefined } as unknown as Event;

/** Every state that a run may be in, and how it gets there. */
const states: Readonly<Record<string, readonly (Step | "drain")[]>> = {
  nothing: [],
  open: [started(0)],
  model: [started(0), model(1)],
  streaming: [started(0), model(1), delta(2)],
  asked: [started(0), model(1), asked(2, "a")],
  said: asks,
  running: [...asks, toolStarted(5, "a")],
  ran: [...asks, toolStarted(5, "a"), toolFinished(6, "a")],
  messages: [...asks, toolSaid(6)],
  "next call": [...asks, toolSaid(6), model(7, 2)],
  completed: [...asks, completed(5)],
  failed: [...asks, failed(5)],
  cancelled: [...asks, cancelled(5)],
  expired: [...asks, { tick: HOUR }],
  evicted: [...asks, other.started(5)],
  drained: [...asks, "drain"],
  faulted: [...asks, poisoned],
  reopened: [...asks, completed(5), context(6)],
};

const LETTERS: Readonly<Record<string, string>> = { chunk: "c", late_usage: "u", notice: "n", fault: "!" };

/** What an op is in the table: capitals open something, small letters hand it out. */
function letterOf(op: Op): string {
  if (op.op === "opened") return op.span.kind.charAt(0).toUpperCase();
  if (op.op === "span") return op.span.kind.charAt(0);
  return LETTERS[op.op] ?? "";
}

function isOfRun(op: Op): boolean {
  return (op.op !== "opened" && op.op !== "span") || op.span.run.runId === RUN;
}

/** Fate and ops of one event in a state. */
function cell(state: readonly (Step | "drain")[], event: Event): string {
  const heart = new Assembler({ ...HEART_DEFAULTS, maxOpenRuns: 1 });
  const ops: Op[] = [];
  for (const step of state) {
    if (step === "drain") heart.drain(ops);
    else perform(heart, [step], ops);
  }
  const before = ops.length;
  heart.accept(event, Math.max(heart.nowMs, ORIGIN_MS + 8), ops);
  const those = ops.slice(before);
  const fate = those.find((op) => op.op === "used" || op.op === "dropped");
  const told = those.filter(isOfRun).map(letterOf).join("");
  heart.drain(ops);
  const accepted = state.filter((step) => step !== "drain" && !("tick" in step)).length + 1;
  checkInvariants(ops, { accepted, waiting: 0, whole: true });
  const name = fate?.op === "dropped" ? fate.reason : (fate?.op ?? "none");
  return told === "" ? name : `${name} ${told}`;
}

function tableOf(laterMs: number, columns: readonly string[]): string {
  const cells = columns.map((name) => everyType(laterMs, "a").map(([, event]) => cell(states[name]!, event)));
  const rows = [
    ["", ...columns],
    ...EVENT_TYPES.map((type, row) => [type, ...cells.map((column) => column[row]!)]),
  ];
  const widths = rows[0]!.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
  return rows
    .map((row) =>
      row
        .map((text, at) => text.padEnd(widths[at]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/*
 * How to read the tables: the fate of the event, then what it makes the heart tell. R M T: a run, model
 * call or tool is opened; r m t: its span is handed out; c: the time between two chunks; u: late usage;
 * n: a notice. The call asked for is "a", and so is the tool of every event.
 */

test("an open run meets every type of event", () => {
  const columns = [
    "nothing",
    "open",
    "model",
    "streaming",
    "asked",
    "said",
    "running",
    "ran",
    "messages",
    "next call",
  ];
  expect(tableOf(8, columns)).toMatchInlineSnapshot(`
    "                           nothing  open    model    streaming  asked    said      running   ran       messages  next call
    RunStarted                 used R   used    used     used       used     used      used      used      used      used
    ContextBuilt               used R   used    used     used       used     used      used      used      used      used
    ModelStarted               used RM  used M  used mM  used mM    used mM  used mM   used mM   used mtM  used mtM  used mM
    TextDelta                  used R   used    used     used c     used     used      used      used      used      used
    ToolCallStarted            used R   used    used     used c     used     used      used      used      used      used
    ToolCallDelta              used R   used    used     used c     used     used      used      used      used      used
    ToolCallCompleted          used R   used    used     used       used     used      used      used      used      used
    ToolExecutionStarted       used RT  used T  used T   used T     used T   used T    used T    used T    used T    late
    ToolExecutionFinished      used R   used    used     used       used     used      used      used      used      late
    AssistantMessageCommitted  used R   used    used     used       used     used      used      used      used      used
    ToolMessageCommitted       used R   used    used     used       used     used      used      used      used      used
    UsageRecorded              used Ru  used u  used     used       used     used      used      used      used      used
    CacheMetrics               used R   used    used     used       used     used      used      used      used      used
    RunCompleted               used Rr  used r  used mr  used mr    used mr  used mr   used mtr  used mtr  used mtr  used mr
    RunFailed                  used Rr  used r  used mr  used mr    used mr  used mr   used mtr  used mtr  used mtr  used mr
    RunCancelled               used Rr  used r  used mr  used mr    used mr  used mtr  used mtr  used mtr  used mtr  used mr
    DoomLoopDetected           used Rn  used n  used n   used n     used n   used n    used n    used n    used n    used n
    CompactionCircuitOpened    used Rn  used n  used n   used n     used n   used n    used n    used n    used n    used n"
  `);
});

test("a closed run meets every type of event, later than its end", () => {
  const columns = [
    "completed",
    "failed",
    "cancelled",
    "expired",
    "evicted",
    "drained",
    "faulted",
    "reopened",
  ];
  expect(tableOf(2 * HOUR, columns)).toMatchInlineSnapshot(`
    "                           completed  failed   cancelled  expired  evicted  drained  faulted  reopened
    RunStarted                 used R     used R   used R     used R   used R   used R   used R   used
    ContextBuilt               used R     used R   used R     used R   used R   used R   used R   used
    ModelStarted               used RM    used RM  used RM    used RM  used RM  used RM  used RM  used M
    TextDelta                  late       late     late       used R   used R   used R   late     used
    ToolCallStarted            late       late     late       used R   used R   used R   late     used
    ToolCallDelta              late       late     late       used R   used R   used R   late     used
    ToolCallCompleted          late       late     late       used R   used R   used R   late     used
    ToolExecutionStarted       late       late     late       used RT  used RT  used RT  late     used T
    ToolExecutionFinished      used t     used t   late       used R   used R   used R   used t   used
    AssistantMessageCommitted  late       late     late       used R   used R   used R   late     used
    ToolMessageCommitted       late       late     late       used R   used R   used R   late     used
    UsageRecorded              used u     used u   used u     used Ru  used Ru  used Ru  used u   used u
    CacheMetrics               late       late     late       used R   used R   used R   late     used
    RunCompleted               late       late     late       used Rr  used Rr  used Rr  late     used r
    RunFailed                  late       late     late       used Rr  used Rr  used Rr  late     used r
    RunCancelled               late       late     late       used Rr  used Rr  used Rr  late     used r
    DoomLoopDetected           late       late     late       used Rn  used Rn  used Rn  late     used n
    CompactionCircuitOpened    late       late     late       used Rn  used Rn  used Rn  late     used n"
  `);
});

test("a closed run meets every type of event, no later than its end", () => {
  const columns = [
    "completed",
    "failed",
    "cancelled",
    "expired",
    "evicted",
    "drained",
    "faulted",
    "reopened",
  ];
  expect(tableOf(3.5, columns)).toMatchInlineSnapshot(`
    "                           completed  failed  cancelled  expired  evicted  drained  faulted  reopened
    RunStarted                 late       late    late       late     late     late     late     late
    ContextBuilt               late       late    late       late     late     late     late     late
    ModelStarted               late       late    late       late     late     late     late     late
    TextDelta                  late       late    late       late     late     late     late     late
    ToolCallStarted            late       late    late       late     late     late     late     late
    ToolCallDelta              late       late    late       late     late     late     late     late
    ToolCallCompleted          late       late    late       late     late     late     late     late
    ToolExecutionStarted       late       late    late       late     late     late     late     late
    ToolExecutionFinished      used t     used t  late       late     late     late     used t   used t
    AssistantMessageCommitted  late       late    late       late     late     late     late     late
    ToolMessageCommitted       late       late    late       late     late     late     late     late
    UsageRecorded              used u     used u  used u     used u   used u   used u   used u   used u
    CacheMetrics               late       late    late       late     late     late     late     late
    RunCompleted               late       late    late       late     late     late     late     late
    RunFailed                  late       late    late       late     late     late     late     late
    RunCancelled               late       late    late       late     late     late     late     late
    DoomLoopDetected           late       late    late       late     late     late     late     late
    CompactionCircuitOpened    late       late    late       late     late     late     late     late"
  `);
});
