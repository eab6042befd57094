import type { Content } from "./event.ts";
import { fail, locate, misfit } from "./fields.ts";
import type { Fields } from "./fields.ts";
import { findMember } from "./json-bytes.ts";
import { measureJson } from "./json-text.ts";
import { redactErrorMessage, redactJson, redactText } from "./redact.ts";
import type { Redaction } from "./redact.ts";

/**
 * What may be kept of what models and tools said: docs/input.md, "Content". Behind the decoder nothing else holds any of it.
 */
export interface ContentPolicy {
  readonly content: "off" | "span";
  readonly errorMessages: "on" | "off";
  readonly redaction: Redaction;
  readonly maxDepth: number;
}

/** Where the JSON text of a part of the payload comes from: the bytes of the line, or the value itself. */
export type Origin =
  | {
      readonly from: "line";
      readonly line: Buffer;
      readonly start: number;
      /** The names under which the payload lies. */
      readonly payload: readonly string[];
      /** Of the event's bytes. */
      readonly hash: number;
    }
  | { readonly from: "value" };

/** A delta is redacted later, together with its neighbours: a secret may be cut in two. */
export function deltaText(policy: ContentPolicy, text: string): string | undefined {
  return policy.content === "span" ? text : undefined;
}

export function textContent(policy: ContentPolicy, text: string): Content {
  return {
    length: text.length,
    text: policy.content === "span" ? redactText(text, policy.redaction) : undefined,
  };
}

export function failureMessage(policy: ContentPolicy, text: string): string | undefined {
  return policy.errorMessages === "on" ? redactErrorMessage(text, policy.redaction) : undefined;
}

/**
 * Any JSON value of the payload, as its own text: an object made of it would lose the order of keys like
 * `"10"` and the digits of numbers beyond 2^53. The length is that of the text before redaction.
 */
export function jsonContent(
  policy: ContentPolicy,
  {
    fields,
    origin,
    value,
    path,
  }: { fields: Fields; origin: Origin; value: unknown; path: readonly string[] },
): Content {
  const json = jsonTextOf(origin, value, path);
  if (json === undefined) {
    misfit(fields, path.join("."), "a JSON value", value);
    return { length: 0, text: undefined };
  }
  const { length, depth } = measureJson(json);
  if (depth > policy.maxDepth) {
    const where = locate(fields, path.join("."));
    fail(
      fields,
      "BEHEST_DECODE_DEPTH",
      `${where}: expected at most ${policy.maxDepth} arrays and objects within each other, found ${depth}`,
    );
    return { length, text: undefined };
  }
  return { length, text: policy.content === "span" ? redactJson(json, policy.redaction) : undefined };
}

function jsonTextOf(origin: Origin, value: unknown, path: readonly string[]): string | undefined {
  if (value === undefined) return undefined;
  // Of a function or a symbol it makes undefined, whatever its declaration says.
  if (origin.from === "value") return JSON.stringify(value);
  let { start } = origin;
  let end = start;
  for (const name of [...origin.payload, ...path]) {
    const member = findMember(origin.line, start, name);
    start = member.valueStart;
    end = member.valueEnd;
  }
  return origin.line.toString("utf8", start, end);
}
