import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

import { ENCODINGS } from "../../../src/source/http/inflate.ts";
import { HTTP_LIMITS } from "../../../src/source/http/limits.ts";
import { TOKEN_VARIABLE } from "../../../src/source/http/url.ts";
import { serve } from "./served.ts";

const page = readFileSync(new URL("../../../docs/input.md", import.meta.url), "utf8");
const section = page.slice(page.indexOf("## Over HTTP"), page.indexOf("## From Redis"));
const mib = (bytes: number) => `${bytes / 1024 / 1024} MiB`;
const count = (number: number) => number.toLocaleString("en-US");
const seconds = (ms: number) => `${ms / 1_000} s`;

test.each([
  `body, as sent and inflated | ${mib(HTTP_LIMITS.maxBodyBytes)}`,
  `events in a body | ${count(HTTP_LIMITS.maxEvents)}`,
  `being received, all together | ${mib(HTTP_LIMITS.maxReceivingBytes)}`,
  `wait to be used, all together | ${mib(HTTP_LIMITS.maxWaitingBytes)}`,
  `inflated at once | ${HTTP_LIMITS.maxInflating},`,
  `the whole request | ${seconds(HTTP_LIMITS.headersTimeoutMs)}; ${seconds(HTTP_LIMITS.requestTimeoutMs)}`,
  `without a byte | ${seconds(HTTP_LIMITS.keepAliveMs)}; ${seconds(HTTP_LIMITS.silenceMs)}`,
  `requests on each | ${count(HTTP_LIMITS.maxConnections)}; ${count(HTTP_LIMITS.maxRequestsPerConnection)}`,
  `are answered | ${HTTP_LIMITS.maxPipelined}, then 429`,
  `\`Idempotency-Key\` | ${count(HTTP_LIMITS.maxKeys)}, for ${HTTP_LIMITS.rememberKeyMs / 3_600_000} h, ${mib(HTTP_LIMITS.maxKeyBytes)}`,
  `At most ${HTTP_LIMITS.maxListed} are listed`,
  `refused for want of room for ${seconds(HTTP_LIMITS.fullMs)}`,
  ENCODINGS.slice(0, -1)
    .map((name) => `\`${name}\``)
    .join(", "),
  TOKEN_VARIABLE,
])("docs/input.md says what holds: %s", (text) => {
  expect(section).toContain(text);
});

test("the answer in docs/input.md is the one that is given", async () => {
  const served = await serve();
  const [, example = ""] = /```json\n(.*)\n```/.exec(section) ?? [];
  const run = (n: number) =>
    `{"RunCancelled":{"run_id":"6f1f6d0e-3c51-4a7e-9b57-00000000000${n}","timestamp":"2026-06-21T00:00:00Z"}}`;
  const lines = [run(1), run(2), '{"broken', run(3), run(4), run(5), run(6), run(7)];
  const { json } = await served.post(lines.join("\n"));
  expect(JSON.parse(example)).toEqual(json);
  await served.close();
});
