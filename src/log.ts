/** Levels from the gravest: ERROR means something is lost, WARN that something is odd but nothing lost. */
export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** Facts beside a message; undefined ones are left out. */
export type LogFacts = Readonly<Record<string, string | number | boolean | undefined>>;

/**
 * Says things to people. Never called per event: what happens per event is counted.
 * Messages are whole sentences without a full stop; facts carry what changes.
 */
export type Log = Readonly<Record<LogLevel, (message: string, facts?: LogFacts) => void>>;

/** A log of one line per call, as text for eyes or as JSON for machines. */
export function createLog(options: {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly now: () => Date;
  readonly write: (line: string) => void;
}): Log {
  const { level, format, now, write } = options;
  const limit = LOG_LEVELS.indexOf(level);
  const at = (name: LogLevel) => {
    if (LOG_LEVELS.indexOf(name) > limit) return () => {};
    return (message: string, facts: LogFacts = {}) => {
      const time = now().toISOString();
      write(
        `${format === "json" ? jsonLine(time, name, message, facts) : textLine(time, name, message, facts)}\n`,
      );
    };
  };
  return { error: at("error"), warn: at("warn"), info: at("info"), debug: at("debug") };
}

function jsonLine(time: string, level: LogLevel, message: string, facts: LogFacts): string {
  const fixed = { time, level, message };
  // First for the eye, and again last, so that no fact can take their place.
  return JSON.stringify({ ...fixed, ...facts, ...fixed });
}

function textLine(time: string, level: LogLevel, message: string, facts: LogFacts): string {
  let line = `${time} ${level.toUpperCase().padEnd(5)} ${visible(message)}`;
  for (const [key, value] of Object.entries(facts)) {
    if (value === undefined) continue;
    const text = String(value);
    line += ` ${key}=${/^[^\s"=]+$/.test(text) ? visible(text) : visible(JSON.stringify(text))}`;
  }
  return line;
}

/** Control characters become visible: a name from outside must not be able to forge a line or paint a terminal. */
export function visible(text: string): string {
  return text.replaceAll(
    // oxlint-disable-next-line no-control-regex -- control characters are what this is about.
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
