import { describe, expect, test } from "vitest";
import { tell, tellAll, type Step } from "./play.ts";
import {
  asked,
  cache,
  callDelta,
  callStarted,
  cancelled,
  completed,
  context,
  delta,
  doomLoop,
  failed,
  HOUR,
  model,
  said,
  started,
  toolFinished,
  toolSaid,
  usage,
} from "./story.ts";

/** What the runtime does that one would not expect (reference: behest.md, section 3), by its number there. */
describe("surprise", () => {
  test("1: no event says that a model call is over", () => {
    expect(tell([started(0), context(1), model(2), delta(3), delta(90), said(95), completed(99)]))
      .toMatchInlineSnapshot(`
      "invoke_agent [0 +99] completed stop calls=1 tools=0 iterations=1 events=7
        chat gpt-4o (1) [2 +93] stop stream chunks=2 ttfc=1"
    `);
  });

  test("2: tools run without an event of their own", () => {
    expect(
      tell([
        started(0),
        model(1),
        asked(20, "a"),
        asked(21, "b"),
        usage(22),
        said(23),
        toolSaid(80),
        toolSaid(81),
        context(82),
        model(83, 2),
        delta(99),
        usage(100),
        said(101),
        completed(102, "stop", 2),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +102] completed stop calls=2 tools=2 tokens=200/40 iterations=2 events=14
        chat gpt-4o (1) [1 +21] tool_call in=100 out=20
        execute_tool search (a) [23 +57] it=1 inferred
        execute_tool search (b) [23 +57] it=1 inferred
        chat gpt-4o (2) [83 +17] stop chunks=1 in=100 out=20"
    `);
  });

  test("3: a provider's error ends a run with silence", () => {
    expect(tell([started(0), context(1), model(2), { tick: HOUR }], { end: "stay" })).toMatchInlineSnapshot(`
      "invoke_agent [0 +2] incomplete(expired) error=run_expired calls=1 tools=0 iterations=1 events=3
        chat gpt-4o (1) [2 +0] error incomplete"
    `);
  });

  test("4: an application cancels a run while its tools run", () => {
    expect(tell([started(0), model(1), asked(2, "a"), said(3), cancelled(50)])).toMatchInlineSnapshot(`
      "invoke_agent [0 +50] cancelled calls=1 tools=1 iterations=1 events=5
        chat gpt-4o (1) [1 +2] tool_call
        execute_tool search (a) [3 +47] it=1 inferred incomplete error=cancelled"
    `);
  });

  test("5: neighbours swap on their way, which a window puts right", () => {
    const story = [started(0), context(1), model(2), delta(3), delta(4), usage(5), said(6), completed(7)];
    const swapped = story.map((_, index): Step => ({ event: story[index ^ 1]!, ms: index }));
    expect(tell(swapped, { reorderWindowMs: 5 })).toBe(tell(story));
    // Without one it is what it is, and nothing breaks.
    expect(tell(swapped)).toMatchInlineSnapshot(`
      "invoke_agent [1 +6] completed stop corrected calls=1 tools=0 tokens=100/20 iterations=1 events=7
        chat gpt-4o (1) [3 +2] stop corrected chunks=1 in=100 out=20
      dropped: late AssistantMessageCommitted"
    `);
  });

  test("6: everything comes twice", () => {
    const story = [started(0), model(1), asked(2, "a"), usage(3), said(4), toolSaid(5), completed(6)];
    const twice = story.flatMap((event) => [event, structuredClone(event)]);
    expect(tell(twice).split("\ndropped: ")[0]).toBe(tell(story));
    expect(tell([...story, ...structuredClone(story)]).split("\ndropped: ")[0]).toBe(tell(story));
  });

  test("7: a stream that fails falls back to a plain call, and says everything twice", () => {
    expect(
      tell([
        started(0),
        model(1),
        delta(2),
        callStarted(3, "stream"),
        callDelta(4, "stream"),
        delta(40),
        asked(41, "plain"),
        usage(42),
        said(43),
        toolSaid(90),
        completed(99),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +99] completed stop calls=1 tools=1 tokens=100/20 iterations=1 events=11
        chat gpt-4o (1) [1 +41] stop stream chunks=4 ttfc=1 in=100 out=20
        execute_tool search (plain) [43 +47] it=1 inferred"
    `);
  });

  test("8: context overflow is a model call without anything, then the next iteration", () => {
    expect(
      tell([
        started(0),
        context(1),
        model(2, 1),
        context(50),
        model(51, 2),
        usage(90),
        said(91),
        completed(92, "stop", 2),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +92] completed stop calls=2 tools=0 tokens=100/20 iterations=2 events=8
        chat gpt-4o (1) [2 +48] error incomplete
        chat gpt-4o (2) [51 +39] stop in=100 out=20"
    `);
  });

  test("9: after a doom loop nothing ran", () => {
    expect(
      tell([
        started(0),
        model(1),
        asked(2, "a"),
        usage(3),
        said(4),
        doomLoop(5, "search"),
        failed(6, "doom_loop", "doom loop detected: search"),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +6] failed error=doom_loop "doom loop detected: search" calls=1 tools=0 tokens=100/20 iterations=1 events=7
        ! behest.doom_loop.detected [5] "search"
        chat gpt-4o (1) [1 +2] tool_call in=100 out=20"
    `);
  });

  test("9: a run goes on in another process, in the middle of an iteration, and begins its call again", () => {
    expect(
      tell([
        started(0),
        context(1),
        model(2, 1),
        delta(3),
        delta(4),
        context(2 * HOUR),
        model(2 * HOUR + 1, 1),
        delta(2 * HOUR + 2),
        usage(2 * HOUR + 3),
        said(2 * HOUR + 4),
        completed(2 * HOUR + 5, "stop", 1),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +4] incomplete(expired) error=run_expired calls=1 tools=0 iterations=1 events=5
        chat gpt-4o (1) [2 +2] error incomplete stream chunks=2 ttfc=1
      invoke_agent (1700007200000000000) [7200000 +5] completed stop resumed_from="" start_missing calls=1 tools=0 tokens=100/20 iterations=1 events=6
        chat gpt-4o (1) [7200001 +2] stop chunks=1 in=100 out=20"
    `);
  });

  test("10: an answer that was cut off is asked to go on", () => {
    expect(
      tell([
        started(0),
        model(1, 1),
        delta(2),
        usage(3),
        said(4),
        context(5),
        model(6, 2),
        delta(7),
        usage(8),
        said(9),
        completed(10, "length", 2),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +10] completed length calls=2 tools=0 tokens=200/40 iterations=2 events=11
        chat gpt-4o (1) [1 +2] chunks=1 in=100 out=20
        chat gpt-4o (2) [6 +2] length chunks=1 in=100 out=20"
    `);
  });

  test("11: only the last call's finish reason is told, and tool calls say their own", () => {
    expect(
      tell([
        started(0),
        model(1, 1),
        asked(2, "a"),
        said(3),
        toolSaid(4),
        model(5, 2),
        said(6),
        completed(7, "content_filter", 2),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +7] completed content_filter calls=2 tools=1 iterations=2 events=8
        chat gpt-4o (1) [1 +2] tool_call
        execute_tool search (a) [3 +1] it=1 inferred
        chat gpt-4o (2) [5 +1] content_filter"
    `);
  });

  test("12: the same cache tokens are told twice, and what input means depends on the provider", () => {
    const claude = { provider: "anthropic", model: "claude-sonnet-4-5" };
    expect(
      tellAll([
        started(0, claude),
        model(1, 1, claude),
        usage(2, 100, 20, { read: 40, write: 10 }),
        cache(3, { read: 40, write: 10 }),
        said(4),
        model(5, 2, { provider: "openai", model: "gpt-4o" }),
        usage(6, 100, 20, { cached: 40 }),
        cache(7, { cached: 40 }),
        said(8),
        completed(9, "stop", 2),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +9] completed stop calls=2 tools=0 tokens=250/40 cache_read=80 cache_write=10 iterations=2 events=10 run=00000000-0000-4000-8000-000000000001 session=00000000-0000-7000-8000-00000000000a provider=anthropic model=claude-sonnet-4-5
        chat claude-sonnet-4-5 (1) [1 +1] in=150 out=20 cache_read=40 cache_write=10 provider=anthropic message=assistant-4
        chat gpt-4o (2) [5 +1] stop in=100 out=20 cache_read=40 provider=openai message=assistant-8"
    `);
  });

  test("13: tool call ids repeat within a run", () => {
    expect(
      tell([
        started(0),
        model(1, 1),
        asked(2, "call_0"),
        said(3),
        toolSaid(10),
        model(11, 2),
        asked(12, "call_0"),
        said(13),
        toolSaid(20),
        model(21, 3),
        said(22),
        completed(23, "stop", 3),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +23] completed stop calls=3 tools=2 iterations=3 events=12
        chat gpt-4o (1) [1 +2] tool_call
        execute_tool search (call_0) [3 +7] it=1 inferred
        chat gpt-4o (2) [11 +2] tool_call
        execute_tool search (call_0#1) [13 +7] it=2 inferred
        chat gpt-4o (3) [21 +1] stop"
    `);
  });

  test("14: a tool's duration is whole milliseconds, its finish is exact", () => {
    expect(
      tell([
        started(0),
        model(1),
        asked(2, "a"),
        said(3),
        toolFinished(70.123456, "a", { took: 41 }),
        toolSaid(71),
        completed(72),
      ]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +72] completed stop calls=1 tools=1 iterations=1 events=7
        chat gpt-4o (1) [1 +2] stop
        execute_tool search (a) [29.123456 +41] it=1"
    `);
  });
});
