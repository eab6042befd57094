/**
 * A moment as `[whole seconds since 1970, nanoseconds 0..999_999_999]`: OpenTelemetry's HrTime.
 *
 * Nanoseconds since 1970 do not fit a double, and bigints cost six times as much on the path of every
 * event. The pair is plain data (it can be written down as JSON) and goes on a span as it is.
 * Never changed after it was made: spans keep it by reference.
 */
export type Time = readonly [seconds: number, nanos: number];

/** Nanoseconds in OTLP are an unsigned 64-bit number: 1970-01-01 to 2554-07-21. */
export const MAX_TIME_SECONDS = 18_446_744_073;

export function isAfter(a: Time, b: Time): boolean {
  return a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]);
}

export function isSame(a: Time, b: Time): boolean {
  return a[0] === b[0] && a[1] === b[1];
}

/** Below zero when `a` is earlier, zero when equal, above zero when later. */
export function compareTimes(a: Time, b: Time): number {
  return a[0] - b[0] || a[1] - b[1];
}

export function laterOf(a: Time, b: Time): Time {
  return isAfter(b, a) ? b : a;
}

export function earlierOf(a: Time, b: Time): Time {
  return isAfter(a, b) ? b : a;
}

/** Seconds from `start` to `end`, as a double; below zero when `end` is earlier. */
export function secondsBetween(start: Time, end: Time): number {
  const nanos = end[1] - start[1];
  // Whole nanoseconds are divided once, so that 0.25 s is 0.25 and not 0.24999999999999997.
  return ((end[0] - start[0]) * 1e9 + nanos) / 1e9;
}

/** `time` minus whole milliseconds; not before 1970. */
export function minusMillis(time: Time, millis: number): Time {
  let seconds = time[0] - Math.floor(millis / 1000);
  let nanos = time[1] - (millis % 1000) * 1_000_000;
  if (nanos < 0) {
    seconds -= 1;
    nanos += 1_000_000_000;
  }
  return seconds < 0 ? [0, 0] : [seconds, nanos];
}

/** Whole milliseconds since 1970, cut off: the resolution of source time. */
export function toMillis(time: Time): number {
  return time[0] * 1000 + Math.floor(time[1] / 1_000_000);
}

export function fromMillis(millis: number): Time {
  const seconds = Math.floor(millis / 1000);
  return [seconds, Math.round((millis - seconds * 1000) * 1_000_000)];
}

/** Decimal Unix time in nanoseconds: the segment text of docs/identity.md. */
export function nanosText(time: Time): string {
  return time[0] === 0 ? String(time[1]) : `${time[0]}${String(time[1]).padStart(9, "0")}`;
}
