import type { DecodeCode } from "./codes.ts";
import { foldUuid, NIL_UUID } from "./uuid.ts";

/**
 * Reads the fields of one event. The first field that does not fit is remembered, reading goes on with a
 * value of the right type, and whoever began looks at `problem` once at the end.
 */
export interface Fields {
  /** The variant, for messages: `TextDelta`; empty for the fields beside it. */
  place: string;
  /** Length of the longest id or name, in UTF-16 units. */
  readonly maxStringLength: number;
  problem: Problem | undefined;
}

export interface Problem {
  readonly code: DecodeCode;
  readonly message: string;
}

export type Wire = Readonly<Record<string, unknown>>;

export function isRecord(value: unknown): value is Wire {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function readObject(fields: Fields, value: unknown, path: string): Wire {
  if (isRecord(value)) return value;
  misfit(fields, path, "an object", value);
  return {};
}

/** Text of any length. */
export function readText(fields: Fields, value: unknown, path: string): string {
  if (typeof value === "string") return value;
  misfit(fields, path, "a string", value);
  return "";
}

/** An id or a name. */
export function readName(fields: Fields, value: unknown, path: string): string {
  const text = readText(fields, value, path);
  if (text.length > fields.maxStringLength) {
    fail(
      fields,
      "BEHEST_DECODE_STRING_TOO_LONG",
      `${locate(fields, path)}: expected at most ${fields.maxStringLength} characters, found ${text.length}`,
    );
  }
  return text;
}

/** A whole number that is not negative and below 2^53. */
export function readCount(fields: Fields, value: unknown, path: string): number {
  // Adding zero makes 0 of -0.
  if (Number.isSafeInteger(value) && (value as number) >= 0) return (value as number) + 0;
  const found = typeof value === "number" ? String(value) : typeName(value);
  const expected = "a whole number from 0 to 2^53 - 1";
  fail(fields, "BEHEST_DECODE_SCHEMA", `${locate(fields, path)}: expected ${expected}, found ${found}`);
  return 0;
}

export function readOptionalCount(fields: Fields, value: unknown, path: string): number | undefined {
  return value === undefined || value === null ? undefined : readCount(fields, value, path);
}

export function readUuid(fields: Fields, value: unknown, path: string): string {
  const folded = typeof value === "string" ? foldUuid(value) : undefined;
  if (folded !== undefined) return folded;
  misfit(fields, path, "a hyphenated UUID", value);
  return "";
}

/** The UUID of a run, in lower case; the nil one is none. */
export function readRunId(fields: Fields, value: unknown, path: string): string {
  if (typeof value !== "string") {
    misfit(fields, path, "a hyphenated UUID", value);
    return "";
  }
  const folded = foldUuid(value);
  if (folded !== undefined && folded !== NIL_UUID) return folded;
  const expected = "a hyphenated UUID that is not nil";
  fail(
    fields,
    "BEHEST_DECODE_RUN_ID",
    `${locate(fields, path)}: expected ${expected}, found ${quoted(value)}`,
  );
  return "";
}

export function misfit(fields: Fields, path: string, expected: string, found: unknown): void {
  fail(
    fields,
    "BEHEST_DECODE_SCHEMA",
    `${locate(fields, path)}: expected ${expected}, found ${typeName(found)}`,
  );
}

export function fail(fields: Fields, code: DecodeCode, message: string): void {
  fields.problem ??= { code, message };
}

/** Full name of a field, for messages. */
export function locate(fields: Fields, path: string): string {
  return fields.place === "" ? path : `${fields.place}.${path}`;
}

/** What a value is, in words that give nothing of it away. */
export function typeName(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  switch (typeof value) {
    case "object":
      return "an object";
    case "string":
      return "a string";
    default:
      return `a ${typeof value}`;
  }
}

const MAX_QUOTED_LENGTH = 80;

/** A short string itself, for fields that hold no content; a long one only as its length. */
export function quoted(value: string): string {
  return value.length <= MAX_QUOTED_LENGTH ? JSON.stringify(value) : `a string of ${value.length} characters`;
}
