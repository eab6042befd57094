const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** Longest duration taken, one year: far above any use, far below what a timer can be off by. */
export const MAX_DURATION_MS = 365 * 24 * UNITS.h;

/**
 * Reads `250ms`, `2s`, `1.5s`, `10m`, `24h` or a bare `0` as whole milliseconds; undefined for
 * anything else, for parts of a millisecond and for more than a year.
 */
export function parseDuration(text: string): number | undefined {
  if (text === "0") return 0;
  const match = /^(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h)$/.exec(text);
  if (match === null) return undefined;
  const [, number, unit] = match;
  const exact = Number(number) * UNITS[unit as keyof typeof UNITS];
  // 4.35 * 1000 is 4350 only after rounding; a real part of a millisecond is far from whole.
  const millis = Math.round(exact);
  return Math.abs(exact - millis) < 1e-6 && millis <= MAX_DURATION_MS ? millis : undefined;
}

/** The shortest exact text of whole milliseconds: 90000 is `90s`, 86400000 is `24h`. */
export function formatDuration(millis: number): string {
  if (millis === 0) return "0";
  for (const unit of ["h", "m", "s"] as const) {
    if (millis % UNITS[unit] === 0) return `${millis / UNITS[unit]}${unit}`;
  }
  return `${millis}ms`;
}
