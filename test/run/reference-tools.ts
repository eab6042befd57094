import type { Event, ToolExecutionFinished } from "../../src/event/event.ts";
import { isAfter, laterOf, minusMillis, type Time } from "../../src/event/time.ts";
import type { Ending, RunFacts, ToolSpan } from "../../src/run/op.ts";
import { askedOf, callsOf, modelsOf, of, openFailure, type Frame, type Turn } from "./reference-turns.ts";

type Asked = ReturnType<typeof askedOf>[number];

interface Execution {
  readonly id: string;
  readonly name: string;
  readonly turn: number;
  readonly index: number;
  readonly start: Time;
  readonly startSeen: boolean;
  corrected: boolean;
  end: Time | undefined;
  finish: ToolExecutionFinished | undefined;
}

export function executionsOf(events: readonly Event[]): Execution[] {
  const executions: Execution[] = [];
  let turn = 0;
  for (const [index, event] of events.entries()) {
    if (event.type === "ModelStarted") turn += 1;
    if (event.type !== "ToolExecutionStarted" && event.type !== "ToolExecutionFinished") continue;
    const { callId: id, toolName: name, time } = event;
    if (event.type === "ToolExecutionStarted") {
      const execution = { id, name, turn, index, start: time, startSeen: true, corrected: false };
      executions.push({ ...execution, end: undefined, finish: undefined });
      continue;
    }
    const open = executions.find((each) => each.id === id && each.name === name && each.end === undefined);
    if (open !== undefined) {
      open.end = time;
      open.finish = event;
      continue;
    }
    const wanted = minusMillis(time, event.durationMs);
    const start = laterOf(wanted, events[0]!.time);
    executions.push({
      id,
      name,
      turn,
      index,
      start,
      startSeen: false,
      corrected: start !== wanted,
      end: time,
      finish: event,
    });
  }
  return executions;
}

/** The tool calls of a turn, a repeated id at its last place. */
export function toolsOf(
  run: RunFacts,
  { events, turns, ending, end }: Frame & { events: readonly Event[] },
): ToolSpan[] {
  const executions = executionsOf(events);
  const openTool = of(events, "RunCompleted").length > 0 ? undefined : openFailure(ending);
  const begun: { readonly at: number; readonly span: Omit<ToolSpan, "occurrence"> }[] = [];
  for (const [number, turn] of turns.entries()) {
    const messages = of(turn.events, "ToolMessageCommitted");
    const own = executions.filter((each) => each.turn === number);
    const observed = (id: string) => own.some((each) => each.id === id);
    const ran = callsThatRan(
      turn,
      ending,
      askedOf(turn).some(({ callId }) => observed(callId)),
    );
    // The messages of a streamed answer come in any order.
    const inOrderOfCalls = messages.length === 1 || (turn.model !== undefined && !isStreamed(turn));
    const messageOf = (id: string) => {
      const index = inOrderOfCalls ? ran.findIndex((call) => call.callId === id) : -1;
      return ran.length === messages.length && index >= 0 ? messages[index]!.messageId : undefined;
    };
    for (const each of own) {
      const { finish } = each;
      const failure = finish !== undefined && "failure" in finish.result ? finish.result.failure : undefined;
      begun.push({
        at: each.index,
        span: {
          ...blankTool(run, { callId: each.id, toolName: each.name }),
          start: each.start,
          end: each.end ?? end,
          corrected: each.corrected,
          failure: each.end === undefined ? openTool : failure,
          iteration: turn.model?.iteration,
          incomplete: each.end === undefined,
          messageId: own.find(({ id }) => id === each.id) === each ? messageOf(each.id) : undefined,
        },
      });
    }
    const over = turn.from + turn.events.length - 0.5;
    for (const call of ran) {
      if (!observed(call.callId)) {
        begun.push({
          at: over,
          span: inferred(run, turn, call, { ending, end, messageId: messageOf(call.callId) }),
        });
      }
    }
  }
  const inOrder = begun.toSorted((a, b) => a.at - b.at).map(({ span }) => span);
  return inOrder.map((span, index) =>
    Object.assign(span, {
      occurrence: inOrder.slice(0, index).filter(({ callId }) => callId === span.callId).length,
    }),
  );
}

function isStreamed({ events }: Turn): boolean {
  const texts = of(events, "TextDelta").length;
  return texts > 1 || of(events, "ToolCallStarted").length + of(events, "ToolCallDelta").length > 0;
}

function callsThatRan(turn: Turn, ending: Ending, observed: boolean): Asked[] {
  const count = (type: Event["type"]) => turn.events.filter((event) => event.type === type).length;
  const messages = count("ToolMessageCommitted");
  const completed = callsOf(turn);
  const asked = askedOf(turn);
  if (messages > 0) return (completed.length >= messages ? completed : asked).slice(-messages);
  const stopped =
    turn.next === undefined && (ending.outcome === "cancelled" || ending.outcome === "incomplete");
  const running = count("AssistantMessageCommitted") > 0 && count("DoomLoopDetected") === 0;
  if (!stopped || !running || observed) return [];
  return completed.length > 0 ? completed : asked;
}

interface Inferred {
  readonly ending: Ending;
  readonly end: Time;
  readonly messageId: string | undefined;
}

function inferred(run: RunFacts, turn: Turn, call: Asked, frame: Inferred): Omit<ToolSpan, "occurrence"> {
  const said = of(turn.events, "AssistantMessageCommitted").at(0);
  const messages = of(turn.events, "ToolMessageCommitted");
  const message = messages.find(({ time }) => said === undefined || isAfter(time, said.time)) ?? messages[0];
  const end = message?.time ?? frame.end;
  const [model] = modelsOf(run, { turns: [turn], ending: frame.ending, end: frame.end });
  const start = said?.time ?? model?.end ?? end;
  const reversed = isAfter(start, end);
  return {
    ...blankTool(run, call),
    start,
    end: reversed ? start : end,
    corrected: reversed,
    failure: message === undefined ? openFailure(frame.ending) : undefined,
    iteration: turn.model?.iteration,
    inferred: true,
    incomplete: message === undefined,
    messageId: frame.messageId,
  };
}

export function blankTool(
  run: RunFacts,
  { callId, toolName }: { readonly callId: string; readonly toolName: string },
) {
  return {
    kind: "tool" as const,
    run,
    callId,
    toolName,
    iteration: undefined,
    inferred: false,
    incomplete: false,
    messageId: undefined,
    arguments: undefined,
    result: undefined,
  };
}
