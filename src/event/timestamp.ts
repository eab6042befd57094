import { MAX_TIME_SECONDS } from "./time.ts";
import type { Time } from "./time.ts";
import { writeText } from "./write-text.ts";

const MIN_TIMESTAMP_LENGTH = "2026-06-21T00:00:00Z".length;
const MAX_TIMESTAMP_LENGTH = "2026-06-21T00:00:00.123456789+00:00".length;

const DAYS_IN_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const;
const NANOS_OF_LAST_DIGIT = [
  0, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1,
] as const;

const PLUS = 0x2b;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;
const LETTER_T = 0x74;
const LETTER_Z = 0x7a;

/** Stands for two characters that are no digits: above every limit. */
const NO_DIGITS = 10_000;

/** Stands for a minute or an offset that does not exist: takes every moment far before 1970. */
const NEVER = -1e12;

/**
 * Reads the date-times of RFC 3339 section 5.6, which is what chrono writes for a `DateTime<Utc>`.
 *
 * `Z` or a numeric offset, 0 to 9 fraction digits, T and Z in either case. A leap second (`:60`) is the first
 * second of the next minute, since Unix time has none. Undefined for anything else, for dates that do not
 * exist, and for moments before 1970 or after MAX_TIME_SECONDS.
 */
export class TimestampReader {
  /** Holds any text of the greatest length, as UTF-8. */
  readonly #scratch = Buffer.alloc(3 * MAX_TIMESTAMP_LENGTH);
  readonly #scratchView = new DataView(this.#scratch.buffer, this.#scratch.byteOffset);
  /** The bytes of the last `2026-06-21T00:00` read: events that follow each other share theirs. */
  #minute0 = 0;
  #minute1 = 0;
  #minute2 = 0;
  #minute3 = 0;
  #minuteSeconds = NEVER;

  text(text: string): Time | undefined {
    if (text.length > MAX_TIMESTAMP_LENGTH) return undefined;
    // Characters beyond ASCII become bytes that are no digits.
    return this.bytes(this.#scratchView, 0, writeText(this.#scratch, text));
  }

  /** Reads `view[start, end)`. */
  bytes(view: DataView, start: number, end: number): Time | undefined {
    const length = end - start;
    if (length < MIN_TIMESTAMP_LENGTH || length > MAX_TIMESTAMP_LENGTH) return undefined;
    const minute = this.#readMinute(view, start);
    const second = twoDigits(view, start + 17);
    if (second > 60 || view.getUint8(start + 16) !== COLON) return undefined;

    let at = start + 19;
    let nanos = 0;
    if (view.getUint8(at) === POINT) {
      at += 1;
      const first = at;
      for (; at < end; at += 1) {
        const digit = view.getUint8(at) - ZERO;
        if (digit < 0 || digit > 9) break;
        nanos = nanos * 10 + digit;
      }
      const digits = at - first;
      if (digits < 1 || digits > 9) return undefined;
      nanos *= NANOS_OF_LAST_DIGIT[digits] ?? 0;
    }
    const seconds = minute + second + towardsUtc(view, at, end);
    if (seconds < 0 || seconds > MAX_TIME_SECONDS) return undefined;
    return seconds === MAX_TIME_SECONDS && nanos > 0 ? undefined : [seconds, nanos];
  }

  /** Seconds from 1970 to the beginning of the minute. */
  #readMinute(view: DataView, start: number): number {
    const word0 = view.getInt32(start);
    const word1 = view.getInt32(start + 4);
    const word2 = view.getInt32(start + 8);
    const word3 = view.getInt32(start + 12);
    if (
      word3 !== this.#minute3 ||
      word2 !== this.#minute2 ||
      word1 !== this.#minute1 ||
      word0 !== this.#minute0
    ) {
      this.#minute0 = word0;
      this.#minute1 = word1;
      this.#minute2 = word2;
      this.#minute3 = word3;
      this.#minuteSeconds = startOfMinute(view, start);
    }
    return this.#minuteSeconds;
  }
}

function startOfMinute(view: DataView, start: number): number {
  if ((view.getUint8(start + 10) | 0x20) !== LETTER_T || view.getUint8(start + 13) !== COLON) return NEVER;
  if (view.getUint8(start + 4) !== MINUS || view.getUint8(start + 7) !== MINUS) return NEVER;
  const year = twoDigits(view, start) * 100 + twoDigits(view, start + 2);
  const day = startOfDay(year, twoDigits(view, start + 5), twoDigits(view, start + 8));
  const hour = twoDigits(view, start + 11);
  const minute = twoDigits(view, start + 14);
  return hour > 23 || minute > 59 ? NEVER : day + hour * 3600 + minute * 60;
}

function startOfDay(year: number, month: number, day: number): number {
  // An offset can carry the last hours of 1969 into 1970, nothing earlier.
  if (year < 1969 || year > 9999 || month < 1 || month > 12 || day < 1) return NEVER;
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const days = month === 2 && leap ? 29 : (DAYS_IN_MONTH[month - 1] ?? 0);
  return day > days ? NEVER : Date.UTC(year, month - 1, day) / 1000;
}

/** Seconds to add for `Z`, `+hh:mm` or `-hh:mm`. */
function towardsUtc(view: DataView, at: number, end: number): number {
  const length = end - at;
  if (length === 1) return (view.getUint8(at) | 0x20) === LETTER_Z ? 0 : NEVER;
  if (length !== 6 || view.getUint8(at + 3) !== COLON) return NEVER;
  const sign = view.getUint8(at);
  if (sign !== PLUS && sign !== MINUS) return NEVER;
  const hours = twoDigits(view, at + 1);
  const minutes = twoDigits(view, at + 4);
  if (hours > 23 || minutes > 59) return NEVER;
  const seconds = hours * 3600 + minutes * 60;
  return sign === MINUS ? seconds : -seconds;
}

function twoDigits(view: DataView, at: number): number {
  const tens = view.getUint8(at) - ZERO;
  const ones = view.getUint8(at + 1) - ZERO;
  return tens < 0 || tens > 9 || ones < 0 || ones > 9 ? NO_DIGITS : tens * 10 + ones;
}
