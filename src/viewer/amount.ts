import type { Time } from "../event/time.ts";

/** Three digits or so of a duration: `0s`, `640ns`, `6.4us`, `64us`, `830ms`, `1.24s`, `12.3s`, `2m 05s`, `3h 20m`, `2d 04h`. */
export function durationText(seconds: number): string {
  const nanos = Math.round(seconds * 1e9);
  if (nanos <= 0) return "0s";
  if (nanos < 1000) return `${nanos}ns`;
  if (nanos < 999_500) return `${twoDigits(nanos / 1000)}us`;
  if (nanos < 999_500_000) return `${twoDigits(nanos / 1_000_000)}ms`;
  if (seconds < 9.995) return `${seconds.toFixed(2)}s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)}s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return pair(whole, 60, "m", "s");
  const minutes = Math.floor(whole / 60);
  if (minutes < 24 * 60) return pair(minutes, 60, "h", "m");
  return pair(Math.floor(minutes / 60), 24, "d", "h");
}

/** A count of tokens in at most four or five characters: `356`, `1.2k`, `48k`, `1.2M`. */
export function tokensText(tokens: number): string {
  if (tokens < 1000) return String(tokens);
  let value = tokens;
  for (const unit of ["k", "M", "G"]) {
    value /= 1000;
    if (value < 9.95) return value.toFixed(1) + unit;
    if (value < 999.5) return value.toFixed(0) + unit;
  }
  return `${(value / 1000).toFixed(0)}T`;
}

/** A whole number with its thousands apart: `12,345`. */
export function countText(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `1 model call`, `3 model calls`; only words that take an s. */
export function counted(count: number, noun: string): string {
  return `${countText(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** `2026-11-22 15:38:01.250 UTC`: always UTC, so that the text of a recording is the same everywhere. */
export function momentText(time: Time): string {
  const millis = String(Math.floor(time[1] / 1_000_000)).padStart(3, "0");
  const [day, clock] = wholeSeconds(time);
  return `${day} ${clock}.${millis} UTC`;
}

/** RFC 3339 with all nine digits: `2026-11-22T15:38:01.250000001Z`. */
export function rfc3339(time: Time): string {
  const [day, clock] = wholeSeconds(time);
  return `${day}T${clock}.${String(time[1]).padStart(9, "0")}Z`;
}

function wholeSeconds(time: Time): [day: string, clock: string] {
  const text = new Date(time[0] * 1000).toISOString();
  return [text.slice(0, 10), text.slice(11, 19)];
}

/** Below ten with one decimal, else whole. */
function twoDigits(value: number): string {
  return value < 9.95 ? value.toFixed(1) : value.toFixed(0);
}

function pair(whole: number, per: number, large: string, small: string): string {
  return `${Math.floor(whole / per)}${large} ${String(whole % per).padStart(2, "0")}${small}`;
}
