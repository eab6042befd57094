import { afterAll, beforeAll, describe, expect, onTestFailed, test } from "vitest";

import { linesOf, recording } from "../bridge/recordings.ts";
import { run, start, type Started } from "../cli/program.ts";
import { startHttpBackend, type OtlpServer } from "../otel/otlp-server.ts";
import { NatsServer, STREAM as NATS_STREAM, SUBJECT } from "./nats-server.ts";
import { RedisServer, STREAM as REDIS_STREAM } from "./redis-server.ts";
import { eventually } from "./running.ts";

/** A broker as far as the states on it go; docs/delivery.md says how they are removed. */
interface Place extends AsyncDisposable {
  readonly from: (group: string) => string;
  readonly publish: (lines: readonly string[]) => Promise<unknown>;
  /** How often this shard of the group has committed. */
  readonly commits: (group: string, shard?: number) => Promise<number>;
  readonly remove: (group: string, shard?: number) => Promise<unknown>;
}

async function onRedis(): Promise<Place> {
  const server = await RedisServer.start();
  const key = (group: string, shard = 0) => `behest-otel:{${REDIS_STREAM}}:${group}:${shard}`;
  return {
    from: (group) => `redis://127.0.0.1:${server.port}?stream=${REDIS_STREAM}&group=${group}`,
    publish: (lines) =>
      Promise.all(lines.map((line) => server.ask("XADD", REDIS_STREAM, "*", "event", line))),
    commits: async (group, shard) => Number(await server.ask("HGET", key(group, shard), "state commits")),
    remove: async (group, shard) => {
      await server.ask("DEL", key(group, shard));
      await server.ask("XGROUP", "DESTROY", REDIS_STREAM, shard === undefined ? group : `${group}:${shard}`);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function onNats(): Promise<Place> {
  const server = await NatsServer.start();
  await server.makeStream();
  const bucket = `behest-otel-${NATS_STREAM}`;
  const nameOf = (group: string, shard?: number) => (shard === undefined ? group : `${group}-shard-${shard}`);
  return {
    from: (group) =>
      `nats://127.0.0.1:${server.port}?stream=${NATS_STREAM}&subject=${SUBJECT}&durable=${group}`,
    publish: (lines) => Promise.all(lines.map((line) => server.jetstream.publish(SUBJECT, line))),
    commits: async (group, shard) => {
      // Not of a bucket that the server is still making: one of 2.9 crashes at that.
      if (!(await server.hasMessages(`KV_${bucket}`))) return 0;
      const query = { last_by_subj: `$KV.${bucket}.${nameOf(group, shard)}.head` };
      const stored = await server.manager.streams.getMessage(`KV_${bucket}`, query);
      return stored === null ? 0 : stored.json<{ commit: number }>().commit;
    },
    remove: async (group, shard) => {
      const name = nameOf(group, shard);
      await server.manager.streams.purge(`KV_${bucket}`, { filter: `$KV.${bucket}.${name}.>` });
      await server.manager.consumers.delete(NATS_STREAM, name);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Nothing that a test began outlives the test's process, however that ends. */
const children = new Set<Started["child"]>();
process.once("exit", () => children.forEach((child) => child.kill("SIGKILL")));

const [first, second] = ["parallel-tools", "failing-tool"].map((scenario) =>
  linesOf(recording("0.5.9", scenario).path),
) as [string[], string[]];

describe.each([
  ["Redis", onRedis],
  ["NATS JetStream", onNats],
] as const)("the number of shards, on %s,", (_, begin) => {
  let backend: OtlpServer;
  let place: Place;
  beforeAll(async () => {
    [backend, place] = await Promise.all([startHttpBackend(), begin()]);
    await place.publish(first);
  });
  afterAll(() => Promise.all([backend.close(), place[Symbol.asyncDispose]()]));

  const call = (group: string, shard: string | undefined) => ({
    args: ["run", "--from", place.from(group), "--commit-interval", "50ms"].concat(
      shard === undefined ? [] : ["--shard", shard],
    ),
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: backend.url },
  });

  /** Starts it, and waits until it has committed once more often. */
  async function live(group: string, shard?: string): Promise<Started> {
    const index = shard === undefined ? undefined : Number(shard.split("/")[0]);
    const before = await place.commits(group, index);
    const started = start(call(group, shard));
    children.add(started.child);
    onTestFailed(() => console.error(started.stderr));
    await eventually("a commit", async () => (await place.commits(group, index)) > before);
    return started;
  }

  async function stop({ child, ended }: Started): Promise<void> {
    child.kill("SIGTERM");
    expect(await ended).toMatchObject({ status: 0 });
  }

  async function expectRefused(group: string, shard: string | undefined, found: string): Promise<void> {
    const { status, stderr } = await run(call(group, shard));
    expect([status, stderr]).toEqual([2, expect.stringContaining(found)]);
    expect(stderr).toContain('docs/delivery.md, "Shards"');
  }

  test("is refused when it does not fit a process without shards, which goes on", async () => {
    const alone = await live("alone");
    for (const shard of ["0/2", "1/2", "4/5"]) {
      await expectRefused("alone", shard, "found that of 1 process for all runs");
    }
    const before = await place.commits("alone");
    await place.publish(second);
    await eventually("another commit", async () => (await place.commits("alone")) > before);
    await stop(alone);
    await expectRefused("alone", "1/2", "found that of 1 process for all runs");
    // Another name is another state, and so is this one when it was removed.
    await stop(await live("alone-2", "1/2"));
    await place.remove("alone");
    await stop(await live("alone", "1/2"));
  });

  test("is refused when it does not fit shards, which go on", async () => {
    const shards = await Promise.all([live("shared", "0/2"), live("shared", "1/2")]);
    for (const other of [undefined, "0/3", "1/3", "2/3"]) {
      await expectRefused("shared", other, "found the state of 2 shards");
    }
    const before = await Promise.all([place.commits("shared", 0), place.commits("shared", 1)]);

    await place.publish(second);
    await eventually("another commit of both", async () => {
      const now = await Promise.all([place.commits("shared", 0), place.commits("shared", 1)]);
      return now.every((count, index) => count > before[index]!);
    });
    for (const shard of shards) await stop(shard);
    // Of which of them something is left makes no difference.
    await place.remove("shared", 0);
    await expectRefused("shared", undefined, "found the state of 2 shards");
    await place.remove("shared", 1);
    await stop(await live("shared"));
  });
});
