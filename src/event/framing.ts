import { EVENT_TYPES } from "./event.ts";
import type { EventType } from "./event.ts";
import type { UnknownType } from "./codes.ts";
import { isRecord, typeName } from "./fields.ts";
import type { Problem, Wire } from "./fields.ts";

/** An event found in an object, and the envelope that it lay in. */
export interface Framed {
  readonly type: EventType;
  readonly payload: unknown;
  /** The event alone; with other fields beside it; under `event` in an envelope. */
  readonly form: "alone" | "beside" | "envelope";
  /** The object given, whatever its form. */
  readonly object: Wire;
}

/** Names an unknown variant may have: what Rust allows, and short enough to be printed. */
const VARIANT_NAME = /^[A-Z][A-Za-z0-9_]{0,63}$/;

const KNOWN: ReadonlySet<string> = new Set(EVENT_TYPES);

/**
 * Finds the event in an object: `{"RunStarted": {...}}`, possibly with other fields beside it, or an
 * envelope with the same under `event`. Of known variants there must be exactly one; an object of an unknown
 * variant is no error.
 */
export function frame(object: Wire): Framed | UnknownType | Problem {
  const keys = Object.keys(object);
  const type = variantOf(object, keys);
  if (type !== undefined) {
    if (typeof type !== "string") return type;
    return { type, payload: object[type], form: keys.length === 1 ? "alone" : "beside", object };
  }
  const event = Object.hasOwn(object, "event") ? object["event"] : undefined;
  if (event === undefined) return unknownVariantOf(object);
  if (!isRecord(event)) return problem(`event: expected an object, found ${typeName(event)}`);
  const enveloped = variantOf(event, Object.keys(event));
  if (enveloped === undefined) return unknownVariantOf(event);
  if (typeof enveloped !== "string") return enveloped;
  return { type: enveloped, payload: event[enveloped], form: "envelope", object };
}

function variantOf(object: Wire, keys: readonly string[]): EventType | Problem | undefined {
  let found: EventType | undefined;
  for (const key of keys) {
    if (!isKnown(key) || object[key] === undefined) continue;
    if (found !== undefined) return problem(`expected one event in the object, found ${found} and ${key}`);
    found = key;
  }
  return found;
}

/** Fields beside an event are in lower case, so a name that looks like a variant's is taken for one. */
function unknownVariantOf(object: Wire): UnknownType | Problem {
  const names = Object.keys(object).filter((key) => VARIANT_NAME.test(key) && isRecord(object[key]));
  const [name] = names;
  if (name !== undefined && names.length === 1) return { type: "unknown", name };
  return problem('expected an event like {"RunStarted":{...}}, bare or as "event" of an envelope');
}

function isKnown(name: string): name is EventType {
  return KNOWN.has(name);
}

function problem(message: string): Problem {
  return { code: "BEHEST_DECODE_SCHEMA", message };
}
