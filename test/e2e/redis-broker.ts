import type { Broker } from "./crash.ts";
import type { Appended } from "./producer.ts";
import { RedisServer, STREAM } from "./redis-server.ts";
import { eventually } from "./running.ts";

export interface RedisBroker extends Broker {
  readonly server: RedisServer;
}

/** Redis that answers when what it was told is on disk. */
export async function startRedis(): Promise<RedisBroker> {
  const server = await RedisServer.start("--appendonly", "yes", "--appendfsync", "always");
  return {
    server,
    from: (group) => `redis://127.0.0.1:${server.port}?stream=${STREAM}&group=${group}`,
    publish: (lines) => Promise.all(lines.map((line) => server.ask("XADD", STREAM, "*", "event", line))),
    restart: async () => {
      await server.kill();
      await server.start();
      const says = () =>
        server.ask("PING").then(
          (said) => said === "PONG",
          () => false,
        );
      await eventually("Redis has loaded its data", says);
    },
    log: () => logOf(server),
    left: async (group, shard) => {
      const name = shard === undefined ? group : `${group}:${shard}`;
      const groups = (await server.ask("XINFO", "GROUPS", STREAM)) as unknown[][];
      const found = groups.map(infoOf).find((row) => row.get("name") === name);
      if (found === undefined) return Number(await server.ask("XLEN", STREAM));
      return Number(found.get("pending")) + Number(found.get("lag"));
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function logOf(server: RedisServer): Promise<readonly Appended[]> {
  const log: Appended[] = [];
  for (let from = "-"; ;) {
    const page = (await server.ask("XRANGE", STREAM, from, "+", "COUNT", "5000")) as [string, string[]][];
    for (const [id, [, line = ""]] of page) log.push({ line, appendedMs: Number(id.split("-")[0]) });
    const last = page.at(-1);
    if (last === undefined) return log;
    from = `(${last[0]}`;
  }
}

function infoOf(row: readonly unknown[]): ReadonlyMap<unknown, unknown> {
  return new Map(row.flatMap((name, at) => (at % 2 === 0 ? [[name, row[at + 1]] as const] : [])));
}
