import { expect, test } from "vitest";

import { consoleTo } from "../../src/cli/console.ts";
import { keptLog } from "../source/reader.ts";

test("what packages write to the console is said in the log, a line for each call", () => {
  const { log, lines } = keptLog();
  const console = consoleTo(log);
  console.log("reader closed", new Error("no\nprotocol").message);
  console.info("> %s", "PING");
  console.error({ a: 1 });
  expect(lines.map((line) => line.slice(25))).toEqual([
    'WARN  A package wrote to the console text="reader closed no\\nprotocol"\n',
    'WARN  A package wrote to the console text="> PING"\n',
    'WARN  A package wrote to the console text="{ a: 1 }"\n',
  ]);
});
