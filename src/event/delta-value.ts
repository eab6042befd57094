import type { ContentPolicy } from "./content.ts";
import { deltaText } from "./content.ts";
import type { Around, Delta } from "./event.ts";
import { isRecord } from "./fields.ts";
import type { Wire } from "./fields.ts";
import { hashText } from "./hash.ts";
import type { Time } from "./time.ts";
import type { TimestampReader } from "./timestamp.ts";
import { foldUuid, NIL_UUID } from "./uuid.ts";

/**
 * The short way for deltas that are objects already: `{"TextDelta": {...}}` with nothing beside it.
 *
 * As with lines: of anything unusual it says nothing (undefined), and the long way decides.
 */
export class DeltaValueReader {
  readonly #timestamps: TimestampReader;
  readonly #policy: ContentPolicy;
  readonly #maxStringLength: number;
  /** The last run id as it was given, and folded: most events have the run of the one before. */
  #given = "";
  #runId: string | undefined;

  constructor(options: { timestamps: TimestampReader; policy: ContentPolicy; maxStringLength: number }) {
    this.#timestamps = options.timestamps;
    this.#policy = options.policy;
    this.#maxStringLength = options.maxStringLength;
  }

  read(value: Wire, outside: Around | undefined): Delta | undefined {
    let type: string | undefined;
    for (const key in value) {
      if (type !== undefined) return undefined;
      type = key;
    }
    if (type !== "TextDelta" && type !== "ToolCallDelta") return undefined;
    // By names that are written out, the engine finds them sooner.
    const payload = type === "TextDelta" ? value["TextDelta"] : value["ToolCallDelta"];
    if (!isRecord(payload)) return undefined;
    const { run_id: given, delta, timestamp } = payload;
    if (typeof given !== "string" || typeof delta !== "string") return undefined;
    if (typeof timestamp !== "string") return undefined;
    if (given !== this.#given) {
      const folded = foldUuid(given);
      this.#runId = folded === NIL_UUID ? undefined : folded;
      this.#given = given;
    }
    const runId = this.#runId;
    const time = this.#timestamps.text(timestamp);
    if (runId === undefined || time === undefined) return undefined;
    if (type === "TextDelta") {
      const hash = hashDelta({ callId: "", delta, time });
      return { runId, time, hash, around: outside, type, text: deltaText(this.#policy, delta) };
    }
    const callId = payload["call_id"];
    if (typeof callId !== "string" || callId.length > this.#maxStringLength) return undefined;
    return { runId, time, hash: hashDelta({ callId, delta, time }), around: outside, type, callId };
  }
}

/**
 * Identity of a delta that never was a line, by its fields: writing it as JSON would cost more than all the
 * rest.
 */
export function hashDelta({ callId, delta, time }: { callId: string; delta: string; time: Time }): number {
  const call = callId === "" ? 0 : hashText(callId);
  return hashText(delta, time[1] ^ call, time[0] ^ Math.floor(call / 0x100000000));
}
