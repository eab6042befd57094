import { expect, test } from "vitest";
import { createLog, LOG_LEVELS, type LogFormat, type LogLevel } from "../src/log.ts";

function logged(
  options: { readonly level?: LogLevel; readonly format?: LogFormat },
  say: (log: ReturnType<typeof createLog>) => void,
): string {
  let written = "";
  const log = createLog({
    level: options.level ?? "debug",
    format: options.format ?? "text",
    now: () => new Date("2026-11-22T16:00:00.123Z"),
    write: (line) => (written += line),
  });
  say(log);
  return written;
}

test("a line has the time, the level, the message and the facts that are known", () => {
  const text = logged({}, (log) =>
    log.warn("odd", { file: "a b", count: 3, ok: false, none: undefined, empty: "" }),
  );
  expect(text).toBe('2026-11-22T16:00:00.123Z WARN  odd file="a b" count=3 ok=false empty=""\n');
});

test("a line of JSON has the same, and no fact takes the place of what is fixed", () => {
  const text = logged({ format: "json" }, (log) =>
    log.error("lost", { spans: 2, level: "debug", none: undefined }),
  );
  expect(text).toBe('{"time":"2026-11-22T16:00:00.123Z","level":"error","message":"lost","spans":2}\n');
});

test.each(LOG_LEVELS)("level %s lets through what is as grave or graver", (level) => {
  const text = logged({ level, format: "json" }, (log) => {
    for (const each of LOG_LEVELS) log[each]("said");
  });
  const levels = text
    .split("\n")
    .slice(0, -1)
    .map((line) => (JSON.parse(line) as { level: string }).level);
  expect(levels).toEqual(LOG_LEVELS.slice(0, LOG_LEVELS.indexOf(level) + 1));
});

test("nothing from outside can end a line or paint the terminal", () => {
  const text = logged({}, (log) =>
    log.info("file \u001b[31mred\nERROR forged", { name: "x\u202e\u0007", path: "a\r\nb" }),
  );
  expect(text).toBe(
    '2026-11-22T16:00:00.123Z INFO  file \\u001b[31mred\\u000aERROR forged name=x\\u202e\\u0007 path="a\\r\\nb"\n',
  );
});
