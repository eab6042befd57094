import { rewriteJson } from "./json-text.ts";
import { isSecretName, REDACTED, SECRET_PATTERNS, type TextPattern } from "./secrets.ts";

/** Error messages are kept up to this length, as UTF-8. */
export const MAX_ERROR_MESSAGE_BYTES = 1_024;

/** The patterns that text is searched with. */
export type Redaction = readonly TextPattern[];

/** The built-in patterns and the user's, whose matches are replaced as a whole. */
export function redactionOf(patterns: readonly RegExp[] = []): Redaction {
  const added = patterns.map((pattern) => ({
    pattern: new RegExp(pattern.source, `${pattern.flags.replaceAll(/[gy]/g, "")}g`),
    replacement: REDACTED,
  }));
  return [...SECRET_PATTERNS, ...added];
}

/** Free text with everything that looks like a secret replaced. */
export function redactText(text: string, redaction: Redaction): string {
  try {
    return redaction.reduce((rest, { pattern, replacement }) => rest.replace(pattern, replacement), text);
  } catch {
    // A match of many megabytes exhausts the stack of the engine: what cannot be searched is not shown.
    return REDACTED;
  }
}

/**
 * JSON text with the values of secret names replaced, and with secrets within its strings replaced.
 * The input must be valid JSON; what is kept is kept to the character, but for whitespace between tokens.
 */
export function redactJson(json: string, redaction: Redaction): string {
  return rewriteJson(json, {
    member: (name) => (isSecretName(name) ? `"${REDACTED}"` : undefined),
    string: (value) => redactText(value, redaction),
  });
}

/** The message of a failure as it may be recorded: redacted, then cut to 1 KiB of UTF-8. */
export function redactErrorMessage(text: string, redaction: Redaction): string {
  return cutToBytes(redactText(text, redaction), MAX_ERROR_MESSAGE_BYTES);
}

/**
 * The beginning of `text` that fits into `maxBytes` of UTF-8, never half a character.
 * A copy, so that what is kept of a long text does not keep all of it.
 */
export function cutToBytes(text: string, maxBytes: number): string {
  const bytes = Buffer.allocUnsafe(maxBytes);
  const { written } = new TextEncoder().encodeInto(text, bytes);
  return bytes.toString("utf8", 0, written);
}
