/** Longest attribute value when no OTEL_* variable says otherwise: 16 KiB of UTF-8. */
const DEFAULT_VALUE_BYTES = 16_384;

/** How long one string may be; `characters` counts code points, as the specification of the variables does. */
export interface ValueLimit {
  readonly unit: "bytes" | "characters";
  /** Not below 0. */
  readonly max: number;
}

/** Counts are not below 0; what is beyond one is left off and counted in the span's `dropped…Count`. */
export interface SpanLimits {
  readonly value: ValueLimit;
  readonly attributes: number;
  readonly events: number;
  readonly links: number;
  readonly eventAttributes: number;
  readonly linkAttributes: number;
}

/** The specification's counts of 128 and our length. */
export const DEFAULT_SPAN_LIMITS: SpanLimits = {
  value: { unit: "bytes", max: DEFAULT_VALUE_BYTES },
  attributes: 128,
  events: 128,
  links: 128,
  eventAttributes: 128,
  linkAttributes: 128,
};

const UTF8 = new TextEncoder();

/** The longest beginning of `text` within the limit, which never ends inside a surrogate pair. */
export function cutText(text: string, limit: ValueLimit): string {
  switch (limit.unit) {
    case "bytes":
      // One UTF-16 unit is at most three bytes of UTF-8, so most texts need no look.
      if (text.length * 3 <= limit.max) return text;
      return text.slice(0, UTF8.encodeInto(text, new Uint8Array(limit.max)).read);
    case "characters":
      return text.length <= limit.max ? text : text.slice(0, unitsOf(text, limit.max));
  }
}

/** How many UTF-16 units the first `characters` code points of `text` take. */
function unitsOf(text: string, characters: number): number {
  let at = 0;
  for (let count = 0; count < characters && at < text.length; count += 1) {
    at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
  }
  return at;
}
