import { isUtf8 } from "node:buffer";

import { readAround } from "./around.ts";
import type { DecodeCode, Rejected, UnknownType } from "./codes.ts";
import type { ContentPolicy, Origin } from "./content.ts";
import { DeltaValueReader, hashDelta } from "./delta-value.ts";
import { DeltaReader } from "./delta.ts";
import type { Around, Delta, Event, EventType } from "./event.ts";
import { fail, isRecord, locate, misfit, quoted, readObject, readRunId, typeName } from "./fields.ts";
import type { Fields, Problem, Wire } from "./fields.ts";
import { frame } from "./framing.ts";
import type { Framed } from "./framing.ts";
import { hashBytes, hashText } from "./hash.ts";
import { findMember, insideOf } from "./json-bytes.ts";
import { letterIn, lineLimit } from "./letter.ts";
import type { EventLetter } from "./letter.ts";
import { DEFAULT_MAX_LINE_BYTES } from "./lines.ts";
import { redactionOf } from "./redact.ts";
import type { Time } from "./time.ts";
import { TimestampReader } from "./timestamp.ts";
import { readVariant } from "./variants.ts";

export type Decoded = Event | Rejected | UnknownType;

export interface DecoderOptions {
  /** "off" replaces what models and tools said by its length. Default "off". */
  readonly content?: "off" | "span";
  /** Whether the messages of failures are kept: redacted, at most 1 KiB. Default "on". */
  readonly errorMessages?: "on" | "off";
  /** Patterns to redact beside the built-in ones. */
  readonly redact?: readonly RegExp[];
  /** Default 1 MiB. */
  readonly maxLineBytes?: number;
  /** Arrays and objects within each other in arguments and output. Default 128, as in serde_json. */
  readonly maxDepth?: number;
  /** UTF-16 units of an id or a name. Default 1,024. */
  readonly maxStringLength?: number;
}

/** In the place of a time that could not be read; the event is rejected. */
const NO_TIME: Time = [0, 0];

const REFUSED_SPAN = rejected(
  "BEHEST_DECODE_SPAN",
  "a dead letter of a span, which its events make again: expected those, or a letter of an event",
);

/**
 * Turns the wire form into events, and whatever is no event into a rejection with a code; a line never makes
 * it throw. Between lines it keeps the buffer it read last, the last minute, and at most 4,096 run ids.
 */
export class Decoder {
  readonly #policy: ContentPolicy;
  readonly #maxLineBytes: number;
  readonly #maxStringLength: number;
  readonly #timestamps = new TimestampReader();
  /** Made for the first line: it has a memory of its own that events in process need not pay for. */
  #deltas: DeltaReader | undefined;
  readonly #deltaValues: DeltaValueReader;

  constructor(options: DecoderOptions = {}) {
    this.#policy = {
      content: options.content ?? "off",
      errorMessages: options.errorMessages ?? "on",
      redaction: redactionOf(options.redact),
      maxDepth: options.maxDepth ?? 128,
    };
    this.#maxLineBytes = options.maxLineBytes ?? DEFAULT_MAX_LINE_BYTES;
    this.#maxStringLength = options.maxStringLength ?? 1_024;
    this.#deltaValues = new DeltaValueReader({
      timestamps: this.#timestamps,
      policy: this.#policy,
      maxStringLength: this.#maxStringLength,
    });
  }

  /**
   * Decodes the JSON text `buffer[start, end)`. `outside` is what the delivery says about it: headers,
   * fields of an entry. A dead letter is decoded as the event in it.
   */
  line(buffer: Buffer, start: number, end: number, validUtf8: boolean, outside?: Around): Decoded {
    const delta = validUtf8 ? this.delta(buffer, start, end, outside) : undefined;
    return delta ?? this.noDelta(buffer, start, end, validUtf8, outside);
  }

  /** A line of valid UTF-8 that is a delta in its usual form; undefined for all else. */
  delta(buffer: Buffer, start: number, end: number, outside?: Around): Delta | undefined {
    return end - start > this.#maxLineBytes
      ? undefined
      : this.#deltaReader().read(buffer, start, end, outside);
  }

  /** A line that `delta` makes nothing of. */
  noDelta(buffer: Buffer, start: number, end: number, validUtf8: boolean, outside?: Around): Decoded {
    return this.#decode(buffer, start, end, validUtf8, outside, "line");
  }

  #deltaReader(): DeltaReader {
    this.#deltas ??= new DeltaReader({
      timestamps: this.#timestamps,
      policy: this.#policy,
      maxStringLength: this.#maxStringLength,
    });
    return this.#deltas;
  }

  #decode(
    buffer: Buffer,
    start: number,
    end: number,
    validUtf8: boolean,
    outside: Around | undefined,
    form: "line" | "payload",
  ): Decoded {
    const bytes = end - start;
    if (bytes > this.#maxLineBytes && (form === "payload" || bytes > this.#limitOf(buffer, start, end))) {
      return this.tooLong(bytes);
    }
    if (!validUtf8) return rejected("BEHEST_DECODE_UTF8", `the line of ${bytes} bytes is not UTF-8`);
    const text = buffer.toString("utf8", start, end);
    let object: unknown;
    try {
      object = JSON.parse(text);
    } catch (error) {
      const fault = jsonFault(error, text.length);
      return rejected("BEHEST_DECODE_JSON", `the line of ${bytes} bytes is not JSON: ${fault}`);
    }
    const framed = frameValue(object);
    if (!isFramed(framed)) {
      // Looked for only here, so that letters cost events nothing; and one within another is no event.
      if (form === "payload" || framed.type === "unknown" || !isRecord(object)) return framed;
      const letter = letterIn(object, buffer, start);
      if (letter === undefined) return bytes > this.#maxLineBytes ? this.tooLong(bytes) : framed;
      return letter.kind === "span" ? REFUSED_SPAN : this.#openLetter(letter, outside);
    }
    if (bytes > this.#maxLineBytes) return this.tooLong(bytes);
    const event = placeOfEvent(buffer, { start, end, framed });
    const hash = hashBytes(this.#deltaReader().viewOf(buffer), event.start, event.end);
    const payload = framed.form === "envelope" ? ["event", framed.type] : [framed.type];
    return this.#read(framed, { outside, origin: { from: "line", line: buffer, start, payload, hash } });
  }

  /**
   * Decodes an event that is an object already, in any form a line may have. Throws what its getters throw.
   */
  value(value: unknown, outside?: Around): Decoded {
    return this.deltaValue(value, outside) ?? this.noDeltaValue(value, outside);
  }

  /** An object that is a delta in its usual form; undefined for all else. */
  deltaValue(value: unknown, outside?: Around): Delta | undefined {
    return isRecord(value) ? this.#deltaValues.read(value, outside) : undefined;
  }

  /** A value that `deltaValue` makes nothing of. */
  noDeltaValue(value: unknown, outside?: Around): Decoded {
    const framed = frameValue(value);
    return isFramed(framed) ? this.#read(framed, { outside, origin: { from: "value" } }) : framed;
  }

  /** For a line that was over the limit before it reached the decoder. */
  tooLong(bytes: number): Rejected {
    return rejected(
      "BEHEST_LINE_TOO_LONG",
      `expected at most ${this.#maxLineBytes} bytes, found a line of ${bytes}`,
    );
  }

  #limitOf(buffer: Buffer, start: number, end: number): number {
    return lineLimit(buffer, start, end, this.#maxLineBytes);
  }

  /** What stood beside the event when it first came counts over what the delivery of its letter says. */
  #openLetter({ payload, wholeBytes, outside: beside }: EventLetter, delivered: Around | undefined): Decoded {
    const fields: Fields = { place: "", maxStringLength: this.#maxStringLength, problem: undefined };
    const object = readObject(fields, beside ?? {}, "outside");
    fields.place = "outside";
    const outside = readAround(fields, { form: "beside", object }, { runId: "", outside: delivered });
    if (fields.problem !== undefined) return rejectedFor(fields.problem, undefined);
    const decoded = this.#decode(payload, 0, payload.length, isUtf8(payload), outside, "payload");
    if (decoded.type !== "rejected" || wholeBytes === undefined) return decoded;
    const message = `the letter has ${payload.length} of ${wholeBytes} bytes, and they are no event: ${decoded.message}`;
    return { ...decoded, code: "BEHEST_LINE_TOO_LONG", message };
  }

  #read(framed: Framed, { outside, origin }: { outside: Around | undefined; origin: Origin }): Decoded {
    const { type, payload } = framed;
    if (!isRecord(payload)) {
      return rejected("BEHEST_DECODE_SCHEMA", `${type}: expected an object, found ${typeName(payload)}`);
    }
    const fields: Fields = { place: type, maxStringLength: this.#maxStringLength, problem: undefined };
    const runId = readRunId(fields, payload["run_id"], "run_id");
    if (fields.problem !== undefined) return rejectedFor(fields.problem, undefined);
    const time = this.#readTime(fields, payload["timestamp"]);
    const hash = origin.from === "line" ? origin.hash : hashOfValue(fields, { type, payload, time });
    fields.place = "";
    const around = readAround(fields, framed, { runId, outside });
    if (fields.problem !== undefined) return rejectedFor(fields.problem, runId);
    fields.place = type;
    const event = readVariant(type, {
      fields,
      payload,
      common: { runId, time, hash, around },
      policy: this.#policy,
      origin,
    });
    return fields.problem === undefined ? event : rejectedFor(fields.problem, runId);
  }

  #readTime(fields: Fields, value: unknown): Time {
    const expected = "an RFC 3339 date-time from 1970 to 2554";
    if (typeof value !== "string") {
      misfit(fields, "timestamp", expected, value);
      return NO_TIME;
    }
    const time = this.#timestamps.text(value);
    if (time !== undefined) return time;
    const message = `${locate(fields, "timestamp")}: expected ${expected}, found ${quoted(value)}`;
    fail(fields, "BEHEST_DECODE_TIMESTAMP", message);
    return NO_TIME;
  }
}

/** A value that cannot be hashed is a problem of `fields`. */
function hashOfValue(
  fields: Fields,
  { type, payload, time }: { type: EventType; payload: Wire; time: Time },
): number {
  const { call_id: callId, delta } = payload;
  if (type === "TextDelta" && typeof delta === "string") return hashDelta({ callId: "", delta, time });
  if (type === "ToolCallDelta" && typeof delta === "string" && typeof callId === "string") {
    return hashDelta({ callId, delta, time });
  }
  try {
    return hashText(`"${type}":${JSON.stringify(payload)}`);
  } catch (error) {
    // Too deep for the stack, or something JSON has no words for: a bigint, a circle.
    const code = error instanceof RangeError ? "BEHEST_DECODE_DEPTH" : "BEHEST_DECODE_SCHEMA";
    fail(fields, code, `${type}: expected a value that can be written as JSON`);
    return 0;
  }
}

/**
 * The bytes that are the event's own: the same ones for the same event, bare, with fields beside it, or
 * enveloped.
 */
function placeOfEvent(
  line: Buffer,
  { start, end, framed }: { start: number; end: number; framed: Framed },
): { start: number; end: number } {
  switch (framed.form) {
    case "alone":
      return insideOf(line, start, end);
    case "beside": {
      const { keyStart, valueEnd } = findMember(line, start, framed.type);
      return { start: keyStart, end: valueEnd };
    }
    case "envelope": {
      const { valueStart, valueEnd } = findMember(line, start, "event");
      return insideOf(line, valueStart, valueEnd);
    }
  }
}

function frameValue(value: unknown): Framed | Rejected | UnknownType {
  if (!isRecord(value)) {
    return rejected("BEHEST_DECODE_SCHEMA", `expected a JSON object, found ${typeName(value)}`);
  }
  const framed = frame(value);
  return "code" in framed ? rejectedFor(framed, undefined) : framed;
}

function isFramed(framed: Framed | Rejected | UnknownType): framed is Framed {
  return "payload" in framed;
}

function rejected(code: DecodeCode, message: string): Rejected {
  return { type: "rejected", code, message };
}

function rejectedFor({ code, message }: Problem, runId: string | undefined): Rejected {
  return runId === undefined ? rejected(code, message) : { type: "rejected", code, message, runId };
}

/**
 * Where the text stops being JSON. What V8 says otherwise quotes the text, which may be what a model said.
 */
function jsonFault(error: unknown, length: number): string {
  const message = error instanceof Error ? error.message : "";
  if (message === "Unexpected end of JSON input") return "it ends too early";
  const [, position] = / in JSON at position (\d+)(?: \(line \d+ column \d+\))?$/.exec(message) ?? [];
  if (Number(position) === length) return "it ends too early";
  return position === undefined ? "it has a character that cannot stand there" : `at character ${position}`;
}
