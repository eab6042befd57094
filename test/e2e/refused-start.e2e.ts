import { createServer } from "node:net";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { linesOf, recording } from "../bridge/recordings.ts";
import type { Started } from "../cli/program.ts";
import { startHttpBackend, take, type OtlpServer } from "../otel/otlp-server.ts";
import { startBridge } from "./crash.ts";
import { NatsServer, STREAM, SUBJECT } from "./nats-server.ts";
import { freePort, RedisServer, STREAM as KEY } from "./redis-server.ts";
import { eventually } from "./running.ts";

// A process that cannot start as it was asked to takes nothing over from the one that runs.

const [LINE = ""] = linesOf(recording("0.5.9", "fifty-runs").path);
const ARGS = ["--commit-interval", "50ms", "--reorder-window", "50ms"];

let redis: RedisServer;
let nats: NatsServer;
let backend: OtlpServer;
let used: ReturnType<typeof createServer>;
beforeAll(async () => {
  [redis, nats] = [await RedisServer.start(), await NatsServer.start()];
  backend = await startHttpBackend(() => take);
  used = createServer();
  const port = await freePort();
  await new Promise<void>((resolve) => {
    used.listen(port, "127.0.0.1", resolve);
  });
});
afterAll(async () => {
  await backend.close();
  used.close();
  await redis[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

const usedUrl = () => {
  const address = used.address();
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
};

interface Log {
  readonly from: (more?: string) => string;
  readonly publish: () => Promise<unknown>;
  /** Events that are not committed. */
  readonly left: () => Promise<number>;
  readonly clear: () => Promise<unknown>;
}

const LOGS: Readonly<Record<"Redis" | "NATS", Log>> = {
  Redis: {
    from: (more = "") => `redis://127.0.0.1:${redis.port}?group=g${more}`,
    publish: () => redis.append(1, () => LINE),
    left: async () => {
      const groups = (await redis.ask("XINFO", "GROUPS", KEY)) as unknown[][];
      const [group = []] = groups;
      return Number(group[group.indexOf("pending") + 1]) + Number(group[group.indexOf("lag") + 1]);
    },
    clear: async () => {
      await redis.ask("FLUSHALL");
      await redis.ask("SET", "text", "no stream");
    },
  },
  NATS: {
    from: (more = `&subject=${SUBJECT}`) =>
      `nats://127.0.0.1:${nats.port}?stream=${STREAM}&durable=behest-otel${more}`,
    publish: () => nats.append(1, () => LINE),
    left: async () => {
      const { num_pending, num_ack_pending } = await nats.consumer();
      return num_pending + num_ack_pending;
    },
    clear: async () => {
      await nats.clear();
      await nats.makeStream();
    },
  },
};

/** What the second process is given, and a part of what it says. */
type Case = readonly [
  what: string,
  args: () => readonly string[] | Promise<readonly string[]>,
  message: string,
];

const others = (log: Log): readonly Case[] => [
  [
    "a second source that is a broker out of reach",
    () => ["--from", log.from(), "--from", "redis://127.0.0.1:1"],
    "nothing listens there",
  ],
  [
    "a second source that is NATS out of reach",
    () => ["--from", log.from(), "--from", "nats://127.0.0.1:1"],
    "connection refused",
  ],
  [
    "a second source that is core NATS out of reach",
    () => ["--from", log.from(), "--from", "nats://127.0.0.1:1?mode=core"],
    "connection refused",
  ],
  [
    "a second source that is no stream",
    () => ["--from", log.from(), "--from", `redis://127.0.0.1:${redis.port}?stream=text`],
    "the key text is no stream",
  ],
  [
    "a second source that is a stream that is not there",
    () => ["--from", log.from(), "--from", `nats://127.0.0.1:${nats.port}?stream=NONE`],
    "there is no such stream",
  ],
  [
    "a second source that is a file that is not there",
    () => ["--from", log.from(), "--from", "/nowhere/events.ndjson"],
    "does not exist",
  ],
  ["a second source on a port in use", () => ["--from", log.from(), "--from", usedUrl()], "is in use"],
  ["another number of shards", () => ["--from", log.from(), "--shard", "0/2"], "found that of 1 process"],
];

const ONLY: Readonly<Record<keyof typeof LOGS, readonly Case[]>> = {
  Redis: [
    [
      "a state of another version",
      async () => {
        await redis.ask("HSET", `behest-otel:{${KEY}}:g:0`, "birth", '{"format":99}');
        return ["--from", LOGS.Redis.from()];
      },
      "found version 99",
    ],
  ],
  NATS: [
    [
      "a subject that the stream has not",
      () => ["--from", LOGS.NATS.from("&subject=wrong")],
      "nothing of wrong",
    ],
    [
      "a second source with a subject that the stream has not",
      () => [
        "--from",
        LOGS.NATS.from(),
        "--from",
        LOGS.NATS.from("&subject=wrong").replace("behest-otel", "other"),
      ],
      "nothing of wrong",
    ],
  ],
};

describe.each(["Redis", "NATS"] as const)("a process on %s", (name) => {
  const log = LOGS[name];
  let first: Started;

  /** The first process takes one more event, and commits it. */
  async function goesOn(): Promise<void> {
    await log.publish();
    await eventually("committed", async () => (await log.left()) === 0);
    expect(first.child.exitCode, first.stderr).toBeNull();
    expect(first.stderr).not.toMatch(/WARN|ERROR|replaced/);
  }

  beforeEach(async () => {
    await log.clear();
    first = startBridge({ from: log.from(), otlp: backend.url, args: ARGS });
    await first.says("taking events from");
    await goesOn();
  });
  afterEach(async () => {
    first.child.kill("SIGKILL");
    await first.ended;
  });

  test.each([...others(log), ...ONLY[name]])(
    "goes on when another cannot start, because of %s",
    async (_, args, message) => {
      const [, from = "", ...more] = await args();
      const second = startBridge({ from, otlp: backend.url, args: [...ARGS, ...more] });
      const { status, stderr } = await second.ended;
      expect([status, stderr]).toEqual([2, expect.stringContaining(message)]);
      await goesOn();
      await goesOn();
    },
  );

  test("ends when another can", async () => {
    const second = startBridge({ from: log.from(), otlp: backend.url, args: ARGS });
    await second.says("taking events from");
    const { status, stderr } = await first.ended;
    expect([status, stderr]).toEqual([1, expect.stringContaining("replaced by a newer process")]);
    second.child.kill("SIGKILL");
    await second.ended;
  });
});
