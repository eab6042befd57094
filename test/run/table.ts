import type { Event, EventType } from "../../src/event/event.ts";
import * as story from "./story.ts";

/** One event of each type at a moment, in the order in which the runtime declares them; tools with this id. */
export function everyType(ms: number, id = "new"): readonly (readonly [EventType, Event])[] {
  const events: readonly Event[] = [
    story.started(ms),
    story.context(ms),
    story.model(ms, 9),
    story.delta(ms),
    story.callStarted(ms, id),
    story.callDelta(ms, id),
    story.asked(ms, id),
    story.toolStarted(ms, id),
    story.toolFinished(ms, id),
    story.said(ms),
    story.toolSaid(ms),
    story.usage(ms, 7, 3),
    story.cache(ms, { read: 5 }),
    story.completed(ms),
    story.failed(ms),
    story.cancelled(ms),
    story.doomLoop(ms),
    story.circuitOpened(ms),
  ];
  return events.map((event) => [event.type, event]);
}
