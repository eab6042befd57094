import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { Decoder, type Decoded } from "../../src/event/decode.ts";
import { EVENT_TYPES, type Event } from "../../src/event/event.ts";
import { eventLineSchema } from "../../src/event/schema.ts";
import { eventLineJsonSchema } from "../../src/schema.ts";
import { expectedFields } from "./expected-event.ts";
import { fixtureLines } from "./fixture.ts";
import { trial } from "./trial.ts";
import { eventLine, mutate, mutation } from "./wire-arbitrary.ts";

const decoder = new Decoder();

const CODES = ["SCHEMA", "RUN_ID", "TIMESTAMP", "STRING_TOO_LONG"].map((name) => `BEHEST_DECODE_${name}`);

function decodeText(text: string): Decoded {
  const line = Buffer.from(text);
  return decoder.line(line, 0, line.length, true);
}

function isEvent(decoded: Decoded): decoded is Event {
  return decoded.type !== "rejected" && decoded.type !== "unknown";
}

describe("the decoder and the schemas", () => {
  it("give the same verdict, and the same fields, for any event and any damage to it", () => {
    const accepted = new Map<string, number>();
    const refused = new Map<string, number>();
    const count = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + 1);
    fc.assert(
      fc.property(eventLine, fc.array(mutation, { maxLength: 3 }), (line, mutations) => {
        const damaged = mutations.reduce((object, change) => mutate(object, change), line);
        const text = JSON.stringify(damaged);
        const parsed = eventLineSchema.safeParse(JSON.parse(text));
        const decoded = decodeText(text);
        expect(isEvent(decoded), `${text}\n${JSON.stringify(decoded)}\n${parsed.error}`).toBe(parsed.success);
        const fromValue = decoder.value(JSON.parse(text));
        if (!parsed.success || !isEvent(decoded)) {
          // From a line and from an object, the same is said of it.
          expect(fromValue).toEqual(decoded);
          count(refused, decoded.type === "rejected" ? decoded.code : decoded.type);
          return;
        }
        count(accepted, decoded.type);
        const { hash, ...fields } = decoded;
        expect(fields).toEqual(expectedFields(parsed.data));
        expect(Number.isSafeInteger(hash)).toBe(true);

        expect({ ...fromValue, hash }).toEqual(decoded);
      }),
      trial("verdicts", 0.6),
    );
    // Nothing may be so rare that it was not compared.
    expect([...accepted.keys()].sort()).toEqual([...EVENT_TYPES].sort());
    expect([...refused.keys()]).toEqual(expect.arrayContaining([...CODES]));
  });
});

describe("the JSON Schema", () => {
  const schema = eventLineJsonSchema();

  it("names every variant", () => {
    expect(Object.keys(schema.$defs ?? {})).toEqual(expect.arrayContaining([...EVENT_TYPES]));
  });

  it("accepts every line of the fixtures, bare and in an envelope", () => {
    const fromJson = z.fromJSONSchema(schema);
    for (const line of fixtureLines()) {
      expect(fromJson.safeParse(JSON.parse(line)).error, line).toBeUndefined();
      expect(
        fromJson.safeParse({ event: JSON.parse(line), seq: 1, session_id: null }).error,
        line,
      ).toBeUndefined();
    }
  });

  it("refuses a missing field and a wrong type", () => {
    const fromJson = z.fromJSONSchema(schema);
    const [started = "", built = ""] = fixtureLines();
    expect(fromJson.safeParse(JSON.parse(started.replace("model", "modle"))).success).toBe(false);
    expect(fromJson.safeParse(JSON.parse(built.replace(":3", ":-3"))).success).toBe(false);
  });
});
