import { isDelta, type Delta, type Event } from "../event/event.ts";
import { isAfter, type Time } from "../event/time.ts";
import type { Waiting } from "./order.ts";
import { appendNumber, NONE } from "./short-list.ts";

/**
 * The hashes by which the events of one run are known again.
 *
 * Numbers below 2^53 in plain arrays take eight bytes each. Deltas are most of all events, so they
 * are remembered only until a model call has begun after the one after theirs; older ones are told by
 * their place, which is before that call.
 */
export interface HashMemory {
  readonly events: Ring;
  deltas: Ring | undefined;
  /** Deltas that arrived before the current model call began. */
  earlierDeltas: Ring | undefined;
  /** Newest timestamp of a delta. */
  newestDelta: Time | undefined;
  /** The same at the time when the earlier ones became that. */
  newestEarlier: Time | undefined;
}

/** The newest `limit` numbers that were put in. */
export interface Ring {
  values: number[];
  oldest: number;
}

function newRing(): Ring {
  return { values: NONE, oldest: 0 };
}

export function newHashMemory(): HashMemory {
  return {
    events: newRing(),
    deltas: undefined,
    earlierDeltas: undefined,
    newestDelta: undefined,
    newestEarlier: undefined,
  };
}

/**
 * Whether the event was there, by its bytes or by its envelope's id when it has one; it is from now on. Deltas are
 * remembered for less long than others.
 */
export function knewOther(
  memory: HashMemory,
  { hash, around }: Exclude<Event, Delta>,
  limit: number,
): boolean {
  const eventId = around?.eventId;
  if (eventId !== undefined && knew(memory.events, eventId, limit)) return true;
  return knew(memory.events, hash, limit);
}

/**
 * The same for a delta. One with a later timestamp than all others of its run cannot be a duplicate and is not
 * looked up.
 */
export function knewDelta(memory: HashMemory, { hash, time, around }: Delta, limit: number): boolean {
  const eventId = around?.eventId;
  const newest = memory.newestDelta;
  if (newest === undefined || isAfter(time, newest)) {
    memory.newestDelta = time;
  } else if (hasDelta(memory, hash) || (eventId !== undefined && hasDelta(memory, eventId))) {
    return true;
  }
  const deltas = (memory.deltas ??= newRing());
  put(deltas, hash, limit);
  if (eventId !== undefined) put(deltas, eventId, limit);
  return false;
}

/**
 * A model call has begun: deltas of the call before the last one are no longer needed. Those with a
 * later timestamp than its beginning are: they are still waiting for their turn.
 */
export function ageDeltas(memory: HashMemory, begun: Time, limit: number): void {
  const { newestEarlier, deltas } = memory;
  if (newestEarlier === undefined || isAfter(begun, newestEarlier)) {
    memory.earlierDeltas = deltas;
  } else if (deltas !== undefined) {
    const earlier = (memory.earlierDeltas ??= newRing());
    for (const hash of inOrder(deltas)) put(earlier, hash, limit);
  }
  memory.newestEarlier = memory.newestDelta;
  memory.deltas = undefined;
}

/** The run is closed: what still comes of its deltas is late by its timestamp, but for what waits. */
export function forgetDeltas(memory: HashMemory, waiting: readonly Waiting[], limit: number): void {
  memory.deltas = undefined;
  memory.earlierDeltas = undefined;
  memory.newestDelta = undefined;
  memory.newestEarlier = undefined;
  for (const { event } of waiting) {
    if (isDelta(event)) knewDelta(memory, event, limit);
  }
}

/** The numbers of a ring, oldest first. */
function inOrder({ values, oldest }: Ring): number[] {
  return [...values.slice(oldest), ...values.slice(0, oldest)];
}

function knew(ring: Ring, hash: number, limit: number): boolean {
  if (ring.values.includes(hash)) return true;
  put(ring, hash, limit);
  return false;
}

function hasDelta({ deltas, earlierDeltas }: HashMemory, hash: number): boolean {
  return deltas?.values.includes(hash) === true || earlierDeltas?.values.includes(hash) === true;
}

function put(ring: Ring, hash: number, limit: number): void {
  if (ring.values.length < limit) {
    ring.values = appendNumber(ring.values, hash);
    return;
  }
  ring.values[ring.oldest] = hash;
  ring.oldest = (ring.oldest + 1) % limit;
}
