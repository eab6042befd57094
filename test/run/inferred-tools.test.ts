import { describe, expect, test } from "vitest";
import type { Event } from "../../src/event/event.ts";
import type { ToolSpan } from "../../src/run/op.ts";
import { spansOf } from "../viewer/text-tree.ts";
import { play, tell, tellAll, type Step } from "./play.ts";
import {
  asked,
  callDelta,
  callStarted,
  at,
  cancelled,
  completed,
  context,
  delta,
  doomLoop,
  failed,
  model,
  said,
  started,
  toolFinished,
  toolSaid,
  toolStarted,
  usage,
} from "./story.ts";

function tools(steps: readonly Step[]): ToolSpan[] {
  return spansOf(play(steps)).filter((span) => span.kind === "tool");
}

/** Up to the message that asks for the tools. */
const asks = (...ids: readonly string[]) => [
  started(0),
  model(1),
  ...ids.map((id, index) => asked(2 + index / 10, id)),
  usage(3),
  said(4.000001, "m"),
];

describe("tools that the log vouches for, without events of their own", () => {
  test("ran from the assistant's message to the first tool message, each with its own", () => {
    expect(
      tellAll([...asks("a", "b"), toolSaid(50.5, "t-a"), toolSaid(51, "t-b"), context(52), completed(60)]),
    ).toMatchInlineSnapshot(`
      "invoke_agent [0 +60] completed stop calls=1 tools=2 tokens=100/20 iterations=1 events=10 run=00000000-0000-4000-8000-000000000001 session=00000000-0000-7000-8000-00000000000a provider=openai model=gpt-4o
        chat gpt-4o (1) [1 +2] stop in=100 out=20 provider=openai message=m
        execute_tool search (a) [4.000001 +46.499999] it=1 inferred message=t-a
        execute_tool search (b) [4.000001 +46.499999] it=1 inferred message=t-b"
    `);
  });

  test("are handed out when the iteration is over", () => {
    const kinds = spansOf(play([...asks("a"), toolSaid(50), model(52, 2)], { end: "stay" })).map(
      ({ kind }) => kind,
    );
    expect(kinds).toEqual(["model", "tool"]);
    expect(spansOf(play([...asks("a"), toolSaid(50)], { end: "stay" }))).toEqual([]);
  });

  test("are the last k calls when there are k messages", () => {
    expect(
      tools([...asks("a", "b", "c"), toolSaid(50, "t-1"), toolSaid(51, "t-2"), completed(60)]),
    ).toMatchObject([
      { callId: "b", messageId: "t-1" },
      { callId: "c", messageId: "t-2" },
    ]);
  });

  test("are those of the plain call after a stream that fell back", () => {
    const story = [
      started(0),
      model(1),
      asked(2, "stream-a"),
      asked(3, "stream-b"),
      asked(4, "plain-a"),
      asked(5, "plain-b"),
      said(6),
      toolSaid(20, "t-1"),
      toolSaid(21, "t-2"),
      completed(30),
    ];
    expect(tools(story).map(({ callId, messageId }) => [callId, messageId])).toEqual([
      ["plain-a", "t-1"],
      ["plain-b", "t-2"],
    ]);
  });

  test("count once when an id is repeated, at its last place", () => {
    expect(
      tools([...asks("a", "b", "a"), toolSaid(50, "t-1"), toolSaid(51, "t-2"), completed(60)]),
    ).toMatchObject([
      { callId: "b", messageId: "t-1", occurrence: 0 },
      { callId: "a", messageId: "t-2", occurrence: 0 },
    ]);
  });

  test("have no message of their own when there are more messages than calls", () => {
    expect(tools([...asks("a"), toolSaid(50, "t-1"), toolSaid(51, "t-2"), completed(60)])).toMatchObject([
      { callId: "a", messageId: undefined, end: at(50) },
    ]);
  });

  test("begin with the end of the model call when the assistant's message was lost", () => {
    const [tool] = tools([started(0), model(1), asked(2, "a"), usage(3.5), toolSaid(50), completed(60)]);
    expect([tool?.start, tool?.end]).toEqual([at(3.5), at(50)]);
  });

  test("have no length when nothing says when they began", () => {
    const [tool] = tools([started(0), asked(2, "a"), toolSaid(50), completed(60)]);
    expect([tool?.start, tool?.end, tool?.iteration]).toEqual([at(50), at(50), undefined]);
  });

  test("end with the first tool message after the assistant's", () => {
    const [tool] = tools([
      started(0),
      model(1),
      asked(2, "a"),
      toolSaid(3, "early"),
      said(10),
      toolSaid(50, "t"),
      completed(60),
    ]);
    expect([tool?.start, tool?.end, tool?.corrected]).toEqual([at(10), at(50), false]);
  });

  test("have no length, and corrected times, when the assistant's message came last", () => {
    const [tool] = tools([started(0), model(1), asked(2, "a"), toolSaid(30), said(40), completed(60)]);
    expect([tool?.start, tool?.end, tool?.corrected]).toEqual([at(40), at(40), true]);
  });

  test("are of their iteration, and repeated ids are told apart by their order", () => {
    const story = [
      ...asks("call_0"),
      toolSaid(10),
      model(11, 2),
      asked(12, "call_0"),
      said(13),
      toolSaid(20),
      model(21, 3),
      completed(30),
    ];
    expect(tools(story).map((tool) => [tool.callId, tool.iteration, tool.occurrence])).toEqual([
      ["call_0", 1, 0],
      ["call_0", 2, 1],
    ]);
  });
});

describe("calls that were announced and never completed, as the runtime's adapters leave them", () => {
  const announced = (...events: readonly Event[]) => [started(0), model(1), ...events, said(10)];

  test("ran when there are more tool messages than completed calls", () => {
    const story = announced(callStarted(2, "a"), callDelta(3, "call_1"), callStarted(4, "b"));
    expect(tools([...story, toolSaid(20), toolSaid(21), completed(30)]).map(({ callId }) => callId)).toEqual([
      "a",
      "b",
    ]);
    expect(tools([...story, toolSaid(20), completed(30)]).map(({ callId }) => callId)).toEqual(["b"]);
  });

  test("did not run when the completed ones are enough: a broken stream left them", () => {
    const story = announced(callStarted(2, "broken"), delta(3), asked(4, "plain"));
    expect(tools([...story, toolSaid(20), completed(30)]).map(({ callId }) => callId)).toEqual(["plain"]);
  });

  test("count once, whether completed or not", () => {
    const story = announced(callStarted(2, "a"), callStarted(3, "b"), asked(4, "a"));
    expect(tools([...story, toolSaid(20), toolSaid(21), completed(30)]).map(({ callId }) => callId)).toEqual([
      "b",
      "a",
    ]);
  });

  test("ran when the run was stopped after the assistant's message, if none was completed", () => {
    const story = announced(callStarted(2, "a"), callStarted(3, "b"));
    expect(tools([...story, cancelled(30)])).toMatchObject([
      { callId: "a", incomplete: true },
      { callId: "b" },
    ]);
    const oneCompleted = announced(callStarted(2, "a"), callStarted(3, "b"), asked(4, "b"));
    expect(tools([...oneCompleted, cancelled(30)]).map(({ callId }) => callId)).toEqual(["b"]);
  });

  test("say that the model stopped to call tools when they ran", () => {
    const reason = (...then: readonly Event[]) => {
      const [call] = spansOf(play([...announced(callStarted(2, "a")), ...then, model(20, 2), completed(30)]));
      return call?.kind === "model" ? call.finishReason : "no model call";
    };
    expect(reason(toolSaid(15))).toBe("tool_call");
    expect(reason()).toBeUndefined();
  });
});

describe("the tool messages of a streamed answer", () => {
  const story = (streamed: boolean) => [
    started(0),
    model(1),
    ...(streamed ? [callStarted(2, "a"), callStarted(3, "b")] : []),
    asked(4, "a"),
    asked(5, "b"),
    said(6),
    toolSaid(20, "t-1"),
    toolSaid(21, "t-2"),
    completed(30),
  ];

  test("come in any order, so that with several calls nobody knows which is whose", () => {
    expect(tools(story(true)).map(({ messageId }) => messageId)).toEqual([undefined, undefined]);
    expect(tools(story(false)).map(({ messageId }) => messageId)).toEqual(["t-1", "t-2"]);
  });

  test("are told apart when there is one", () => {
    const one = [
      started(0),
      model(1),
      callStarted(2, "a"),
      asked(3, "a"),
      said(4),
      toolSaid(20, "t"),
      completed(30),
    ];
    expect(tools(one)).toMatchObject([{ callId: "a", messageId: "t" }]);
  });
});

describe("without a tool message, a tool ran", () => {
  const story = (...end: readonly Step[]) => tools([...asks("a", "b"), ...end]).map(({ callId }) => callId);

  test.each<[string, Step]>([
    ["completed", completed(60)],
    ["failed", failed(60)],
  ])("never when the run %s", (_, end) => {
    expect(story(end)).toEqual([]);
  });

  test("when the run was cancelled, and it did not finish", () => {
    expect(tell([...asks("a", "b"), cancelled(60)])).toMatchInlineSnapshot(`
      "invoke_agent [0 +60] cancelled calls=1 tools=2 tokens=100/20 iterations=1 events=7
        chat gpt-4o (1) [1 +2] tool_call in=100 out=20
        execute_tool search (a) [4.000001 +55.999999] it=1 inferred incomplete error=cancelled
        execute_tool search (b) [4.000001 +55.999999] it=1 inferred incomplete error=cancelled"
    `);
  });

  test("when the run expired, and it did not finish", () => {
    expect(tell([...asks("a"), { tick: 700_000 }])).toMatchInlineSnapshot(`
      "invoke_agent [0 +4.000001] incomplete(expired) error=run_expired calls=1 tools=1 tokens=100/20 iterations=1 events=5
        chat gpt-4o (1) [1 +2] tool_call in=100 out=20
        execute_tool search (a) [4.000001 +0] it=1 inferred incomplete"
    `);
  });

  test("when the input ended, and it did not finish", () => {
    expect(tools(asks("a"))).toMatchObject([
      { callId: "a", incomplete: true, inferred: true, failure: undefined },
    ]);
  });

  test("not before the assistant's message", () => {
    expect(tools([started(0), model(1), asked(2, "a"), usage(3), cancelled(60)])).toEqual([]);
  });

  test("not after a doom loop, which is found before the tools run", () => {
    expect(story(doomLoop(50), failed(60, "doom_loop"))).toEqual([]);
    expect(story(doomLoop(50), cancelled(60))).toEqual([]);
    expect(story(doomLoop(50))).toEqual([]);
  });

  test("when a doom loop was found in an earlier iteration", () => {
    expect(
      tools([started(0), model(1), doomLoop(2), model(3, 2), asked(4, "a"), said(5), cancelled(6)]),
    ).toHaveLength(1);
  });

  test("not when an execution of the iteration was seen, since the others would have been", () => {
    expect(story(toolStarted(10, "a"), toolFinished(20, "a"), cancelled(60))).toEqual(["a"]);
  });
});
