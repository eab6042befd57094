import { beforeEach, expect } from "vitest";

import { BUCKET, inputOf, STREAM } from "./nats-server.ts";
import { server } from "./one-nats.ts";

// What the tests of a file do with the state on their server.

export const HEAD = `$KV.behest-otel-${STREAM}.behest-otel.head`;

beforeEach(async () => {
  await server.makeStream();
});

export const store = (more = "") => inputOf(server.port, more).openStore();

/** What the next process finds. */
export async function found(): Promise<Record<string, string>> {
  await using life = await store();
  expect(life.repeated).toBe(0);
  return Object.fromEntries([...life.records].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Every value that the bucket holds, with how often it was written. */
export async function values(): Promise<Record<string, number>> {
  const info = await server.manager.streams.info(BUCKET, { subjects_filter: ">" });
  return info.state.subjects ?? {};
}

export const head = async () => (await server.manager.streams.getMessage(BUCKET, { last_by_subj: HEAD }))!;

export const runs = (count: number, text: string) =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`run/${at}`, `${at}${text}`]));
