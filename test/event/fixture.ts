import { readFileSync } from "node:fs";

/** One line per variant, written by serde from the definitions of behest 0.2.2. */
export const WIRE_FIXTURE = new URL("../fixtures/wire/wire-0.2.2.ndjson", import.meta.url);

export function fixtureLines(): string[] {
  return readFileSync(WIRE_FIXTURE, "utf8").trimEnd().split("\n");
}

/** The first line of the fixture with this variant. */
export function fixtureLine(type: string): string {
  const line = fixtureLines().find((text) => text.startsWith(`{"${type}"`));
  if (line === undefined) throw new Error(`the fixture has no ${type}`);
  return line;
}
