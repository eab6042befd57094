import type { Progress } from "../bridge.ts";

/** Milliseconds between two drawings: often enough to move, seldom enough not to flicker. */
const REDRAW_MS = 250;

/** Milliseconds before the first: a short replay is over before anybody wonders. */
const FIRST_MS = 1_000;

/** Puts the cursor at the beginning of a line with nothing on it. */
const ERASE = "\r\u001b[2K";

export interface ProgressLine {
  readonly show: (progress: Progress) => void;
  /** Takes the line away. */
  readonly erase: () => void;
}

/**
 * A line that says how far a long replay has come, for a terminal; it is drawn over and over in its
 * place. `totalBytes` is undefined where the end is not known.
 */
export function progressLine(options: {
  readonly totalBytes: number | undefined;
  readonly nowMs: () => number;
  readonly write: (text: string) => void;
}): ProgressLine {
  const { totalBytes, nowMs, write } = options;
  let drawAtMs = nowMs() + FIRST_MS;
  let isDrawn = false;
  return {
    show({ bytes, spans }) {
      const now = nowMs();
      if (now < drawAtMs) return;
      drawAtMs = now + REDRAW_MS;
      isDrawn = true;
      write(`${ERASE}${textOf(bytes, totalBytes)}, ${spans} spans`);
    },
    erase() {
      if (isDrawn) write(ERASE);
      isDrawn = false;
    },
  };
}

function textOf(bytes: number, totalBytes: number | undefined): string {
  if (totalBytes === undefined || totalBytes === 0) return `${megabytes(bytes)} MB read`;
  const share = Math.min(100, Math.floor((bytes / totalBytes) * 100));
  return `${share} %, ${megabytes(bytes)} of ${megabytes(totalBytes)} MB read`;
}

function megabytes(bytes: number): string {
  return (bytes / 1_000_000).toFixed(1);
}
