import { readdirSync, readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { Decoder } from "../../src/event/decode.ts";
import { toMillis } from "../../src/event/time.ts";
import { Assembler } from "../../src/run/assembler.ts";
import { HEART_DEFAULTS } from "../../src/run/limits.ts";
import type { Op } from "../../src/run/op.ts";
import { cellWidth } from "../../src/viewer/cells.ts";
import { View } from "../../src/viewer/view.ts";

const RECORDINGS = new URL("../fixtures/recordings/", import.meta.url);

const files = ["0.2.2", "0.5.9"].flatMap((version) =>
  readdirSync(new URL(`${version}/`, RECORDINGS))
    .filter((name) => name.endsWith(".ndjson"))
    .map((name) => `${version}/${name}`),
);

/** All that the heart makes of a recording, which is drained at its end. */
function opsOfRecording(file: string): Op[] {
  const decoder = new Decoder();
  const heart = new Assembler(HEART_DEFAULTS);
  const ops: Op[] = [];
  for (const text of readFileSync(new URL(file, RECORDINGS), "utf8").split("\n")) {
    if (text === "") continue;
    const line = Buffer.from(text);
    const event = decoder.line(line, 0, line.length, true);
    if (event.type === "rejected" || event.type === "unknown") throw new Error(`${file}: ${event.type}`);
    heart.accept(event, toMillis(event.time), ops);
  }
  heart.drain(ops);
  return ops;
}

async function viewed(ops: readonly Op[], width: number): Promise<string> {
  let output = "";
  const view = new View({
    format: "text",
    look: () => ({ width, colour: false, unicode: true }),
    write: async (text) => {
      output += text;
    },
    ids: { traceId: () => "", spanId: () => "" },
  });
  await view.accept(ops);
  await view.end();
  return output;
}

test.each(files)("%s is shown whole at every width", async (file) => {
  const ops = opsOfRecording(file);
  const spans = ops.flatMap((op) => (op.op === "span" ? [op.span] : []));
  expect(spans.length).toBeGreaterThan(0);
  for (const width of [40, 80, 200]) {
    const lines = (await viewed(ops, width)).split("\n");
    for (const line of lines) expect(cellWidth(line)).toBeLessThanOrEqual(width);
    // A row begins with tree lines, where it has any, a mark and a name.
    const rows = lines.filter((line) =>
      /^(?:[├└]─ )?[✓✗⊘…~] (?:invoke_agent|agent|chat|execute_tool|tool)\b/.test(line),
    );
    expect(rows).toHaveLength(spans.length);
  }
});
