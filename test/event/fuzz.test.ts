import fc, { type Arbitrary } from "fast-check";
import { describe, expect, it } from "vitest";
import { DECODE_CODES } from "../../src/event/codes.ts";
import { Decoder } from "../../src/event/decode.ts";
import { EVENT_TYPES } from "../../src/event/event.ts";
import { LineSplitter } from "../../src/event/lines.ts";
import { fixtureLines } from "./fixture.ts";
import { trial } from "./trial.ts";
import { heldMemory } from "../held-memory.ts";

const KINDS = new Set<string>([...EVENT_TYPES, "rejected", "unknown"]);
const CODES = new Set(Object.keys(DECODE_CODES));
const RUN = "6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3";

/** Input that broke programs like this one, each as one line or many. */
const HOSTILE: readonly Buffer[] = [
  ...[
    "{".repeat(50_000),
    "[".repeat(50_000),
    '{"a":'.repeat(50_000),
    '{"TextDelta":'.repeat(2_000) + "1" + "}".repeat(2_000),
    `{"RunStarted":${"[".repeat(20_000)}${"]".repeat(20_000)}}`,
    '{"__proto__":{"run_id":1}}',
    '{"constructor":{"prototype":{}}}',
    '{"event":{"__proto__":{"RunCancelled":{}}}}',
    `{"RunCancelled":{"run_id":"${RUN}","timestamp":"2026-06-21T00:00:00Z","toString":1,"valueOf":null}}`,
    '"'.repeat(10_000),
    "\\".repeat(10_000),
    `{"TextDelta":{"run_id":"${RUN}","delta":"${"\\".repeat(9_999)}","timestamp":"2026-06-21T00:00:00Z"}}`,
    `{"TextDelta":{"run_id":"${RUN}","delta":"","timestamp":"${"9".repeat(40)}"}}`,
    `{"UsageRecorded":{"run_id":"${RUN}","usage":{"input_tokens":${"9".repeat(5_000)},"output_tokens":1e-400},"timestamp":"2026-06-21T00:00:00Z"}}`,
    "\uFEFF\uFEFF{}",
    "\u0000\u0000\u0000",
    "NaN\nInfinity\nundefined\n-\n1e",
    "\r\r\r\n\n\r",
    '{"RunFailed":1}\n'.repeat(2_000),
    "\u2028\u2029\u0085",
  ].map((text) => Buffer.from(text)),
  Buffer.alloc(200, 0xff),
  Buffer.from([0xed, 0xa0, 0x80, 0xf4, 0x90, 0x80, 0x80, 0xc0, 0x80]),
  Buffer.from(`{"event_id":"${RUN}","seq":${"1".repeat(300)}`),
  Buffer.from(
    `{"event_id":"${RUN}","seq":1,"run_id":"${RUN}","session_id":"${RUN}","event":{${"x".repeat(200)}`,
  ),
  Buffer.from("\0".repeat(400)),
];

/** Cuts, decodes, and checks that each answer is one of those there are. Gives the number of answers. */
function feed(chunks: readonly Buffer[], decoder: Decoder, maxLineBytes: number): number {
  let answers = 0;
  const splitter = checkedSplitter(decoder, maxLineBytes, () => (answers += 1));
  for (const chunk of chunks) splitter.push(chunk);
  splitter.end();
  return answers;
}

/** Gives every line to the decoder, whose answers are checked. */
function checkedSplitter(decoder: Decoder, maxLineBytes: number, onAnswer: () => void): LineSplitter {
  const check = (decoded: ReturnType<Decoder["line"]>): void => {
    onAnswer();
    expect(KINDS).toContain(decoded.type);
    if (decoded.type === "rejected") {
      expect(CODES).toContain(decoded.code);
      expect(decoded.message.length).toBeLessThan(300);
    } else if (decoded.type === "unknown") {
      expect(decoded.name).toMatch(/^\w{1,64}$/);
    } else {
      expect(decoded.runId).toMatch(/^[0-9a-f-]{36}$/);
      expect(decoded.time[0]).toBeGreaterThanOrEqual(0);
      expect(Number.isSafeInteger(decoded.hash)).toBe(true);
    }
  };
  return new LineSplitter({
    maxLineBytes,
    onLine: (buffer, start, end, valid) => {
      expect(end - start).toBeLessThanOrEqual(maxLineBytes);
      check(decoder.line(buffer, start, end, valid));
    },
    onTooLong: (bytes) => {
      expect(bytes).toBeGreaterThan(maxLineBytes);
      check(decoder.tooLong(bytes));
    },
  });
}

function cut(bytes: Buffer, size: number): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
  return chunks;
}

describe("the splitter and the decoder", () => {
  it("answer every line of hostile input, however it is cut", () => {
    for (const content of ["off", "span"] as const) {
      const decoder = new Decoder({ content });
      for (const bytes of HOSTILE) {
        const whole = feed([bytes], decoder, 1_048_576);
        for (const size of [1, 7, 4_096]) {
          if (bytes.length / size > 30_000) continue;
          expect(feed(cut(bytes, size), decoder, 1_048_576)).toBe(whole);
        }
        feed([bytes], decoder, 100);
      }
    }
  });

  it("never throw, whatever the bytes", () => {
    const decoders = { off: new Decoder(), span: new Decoder({ content: "span", redact: [/x+/] }) };
    fc.assert(
      fc.property(
        garbage,
        fc.integer({ min: 1, max: 300 }),
        fc.constantFrom(20, 1_000),
        fc.constantFrom("off", "span"),
        (bytes, size, limit, content) => {
          feed(cut(bytes, size), decoders[content as "off"], limit);
        },
      ),
      trial("fuzz", 0.4),
    );
  });

  it("hold no more for a long input than for a short one", async () => {
    const decoder = new Decoder({ content: "span" });
    const bytes = Buffer.concat(HOSTILE.flatMap((one) => [one, Buffer.from("\n")]));
    const splitter = checkedSplitter(decoder, 100_000, () => {});
    const heldAfter = async (times: number) => {
      for (let n = 0; n < times; n += 1) cut(bytes, 65_536).forEach((chunk) => splitter.push(chunk));
      return (await heldMemory()).arrayBuffers;
    };
    const short = await heldAfter(2);
    expect((await heldAfter(10)) - short).toBeLessThan(200_000);
    splitter.end();
  });
});

const lines = fixtureLines();

/** Pieces of real lines, of JSON and of nothing at all. */
const garbage: Arbitrary<Buffer> = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
      fc.constantFrom(...lines).map((line) => Buffer.from(`${line}\n`)),
      fc
        .tuple(fc.constantFrom(...lines), fc.nat(400), fc.nat(400))
        .map(([line, a, b]) => Buffer.from(line.slice(a % line.length, b))),
      fc.json({ maxDepth: 2 }).map((text) => Buffer.from(text)),
      fc
        .constantFrom(
          '{"',
          '"}',
          '":',
          "\\",
          "\n",
          "\r\n",
          ",",
          "{",
          "}",
          '{"event":',
          '"agent":"a",',
          "\uFEFF",
          "\u0000",
        )
        .map((text) => Buffer.from(text)),
    ),
    { maxLength: 12 },
  )
  .map((parts) => Buffer.concat(parts));
