import { isUtf8 } from "node:buffer";

import type { DecodeCode } from "../../event/codes.ts";
import type { Decoder } from "../../event/decode.ts";
import type { Refusal } from "./answer.ts";
import { cut } from "./cut.ts";
import type { Taken } from "./deposit.ts";

/** What the sender is told of its events: the body of an answer with 202. */
export interface Verdict {
  /** Events that are used, or dropped for a reason that the metrics have. */
  readonly accepted: number;
  readonly rejected: readonly {
    readonly line: number;
    readonly code: DecodeCode;
    readonly message: string;
  }[];
  /** Rejected ones beyond those that are listed; left out when there are none. */
  readonly rejected_not_listed?: number;
}

export interface VerdictOptions {
  readonly decoder: Decoder;
  readonly maxEvents: number;
  readonly maxListed: number;
}

/** Bytes and events after which others have a turn. */
const TURN_BYTES = 1024 * 1024;
const TURN_EVENTS = 2_000;

/**
 * Decodes a body only to say what of it is rejected: it is decoded again, and counted, where it is used. Refuses a
 * body that cannot be cut into events.
 */
export async function verdictOn(
  { bytes, form, outside }: Taken,
  { decoder, maxEvents, maxListed }: VerdictOptions,
): Promise<Verdict | Refusal> {
  const validUtf8 = isUtf8(bytes);
  const events = cut(bytes, form);
  const listed: Verdict["rejected"][number][] = [];
  let [accepted, notListed, turnBytes] = [0, 0, 0];
  for (let count = 0; ; count += 1) {
    const { done, value } = events.next();
    if (done) {
      if (value !== undefined) return { status: 400, message: value };
      if (count === 0 && form !== "array") return { status: 400, message: "the body has no event" };
      return { accepted, rejected: listed, ...(notListed > 0 && { rejected_not_listed: notListed }) };
    }
    if (count === maxEvents) return tooMany(maxEvents);
    const { start, end, line } = value;
    const decoded = decoder.line(bytes, start, end, validUtf8 || isUtf8(bytes.subarray(start, end)), outside);
    if (decoded.type !== "rejected") accepted += 1;
    else if (listed.length < maxListed) listed.push({ line, code: decoded.code, message: decoded.message });
    else notListed += 1;
    turnBytes += end - start;
    if (turnBytes < TURN_BYTES && (count + 1) % TURN_EVENTS > 0) continue;
    turnBytes = 0;
    await new Promise(setImmediate);
  }
}

function tooMany(maxEvents: number): Refusal {
  const limit = maxEvents.toLocaleString("en-US");
  return { status: 413, message: `the body has more than ${limit} events; expected several smaller ones` };
}
