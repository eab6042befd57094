import { headers } from "@nats-io/transport-node";
import { afterAll, beforeAll } from "vitest";

import { systemClock } from "../../src/clock.ts";
import { natsCoreSource } from "../../src/source/nats/core.ts";
import { parseNatsSpec } from "../../src/source/nats/spec.ts";
import type { Begun, Beside, LogBegun, Place, Refused } from "../source/contract-life.ts";
import { describeSource } from "../source/contract.ts";
import { describeLogSource } from "../source/log-contract.ts";
import { describeStore } from "../state/contract.ts";
import * as nats from "./nats-server.ts";
import * as redis from "./redis-server.ts";

const SECRET = "hunter2-hunter2-hunter2";
const BROKER = { whenRead: "says so", time: "a server's", takesBeside: true } as const;
const LOG = { ...BROKER, keepsAppends: true, saysLag: true, shows: ["refused", "untaken"] } as const;

let redisServer: redis.RedisServer;
let natsServer: nats.NatsServer;
beforeAll(async () => {
  redisServer = await redis.RedisServer.start();
  natsServer = await nats.NatsServer.start("jetstream {}\nmax_payload: 8MB");
});
afterAll(async () => {
  await redisServer[Symbol.asyncDispose]();
  await natsServer[Symbol.asyncDispose]();
});

const sourcesOf = ({ source, store }: LogBegun): LogBegun => ({ source, store });

async function redisPlace(): Promise<Place<LogBegun>> {
  await redisServer.ask("FLUSHALL");
  const fields = (beside: Beside | undefined) => Object.entries(beside ?? {}).flat();
  return {
    append: async (lines, beside) => {
      const append = (line: string) =>
        redisServer.ask("XADD", redis.STREAM, "*", ...fields(beside), "event", line);
      await Promise.all(lines.map(append));
    },
    begin: () => sourcesOf(redis.inputOf(redisServer.port)),
    untaken: async () => {
      const [group = []] = (await redisServer.ask("XINFO", "GROUPS", redis.STREAM)) as unknown[][];
      return Number(group[group.indexOf("lag") + 1]);
    },
    refused: async () => {
      await redisServer.ask("SET", redis.STREAM, "no stream");
      const { source } = redis.inputOf(redisServer.port);
      return [
        nobody(redis.inputOf(`user:${SECRET}@127.0.0.1:1`), "redis://127.0.0.1:1"),
        { what: "a key that is no stream", source, name: source.name },
      ];
    },
    close: () => Promise.resolve(),
  };
}

async function jetstreamPlace(): Promise<Place<LogBegun>> {
  await natsServer.clear();
  await natsServer.makeStream();
  return {
    append: async (lines, beside) => {
      const publish = (line: string) =>
        natsServer.jetstream.publish(nats.SUBJECT, line, { ...headersOf(beside), timeout: 30_000 });
      await Promise.all(lines.map(publish));
    },
    begin: () => sourcesOf(nats.inputOf(natsServer.port)),
    untaken: async () => (await natsServer.consumer()).num_pending,
    refused: async () => {
      const { source } = nats.inputOf(natsServer.port, "", { stream: "OTHER" });
      return [
        nobody(nats.inputOf(`user:${SECRET}@127.0.0.1:1`), "nats://127.0.0.1:1"),
        { what: "a stream that is not there", source, name: source.name },
      ];
    },
    close: () => Promise.resolve(),
  };
}

function corePlace(): Place {
  return {
    append: async (lines, beside) => {
      for (const line of lines) natsServer.connection.publish("events", line, headersOf(beside));
      await natsServer.connection.flush();
    },
    begin: () => coreOf(`127.0.0.1:${natsServer.port}`),
    refused: () => Promise.resolve([nobody(coreOf(`user:${SECRET}@127.0.0.1:1`), "nats://127.0.0.1:1")]),
    close: () => Promise.resolve(),
  };
}

function coreOf(host: string): Begun {
  const spec = parseNatsSpec(new URL(`nats://${host}?mode=core&subject=events`));
  if (typeof spec === "string") throw new Error(spec);
  const { log } = new redis.Said();
  const options = { clock: systemClock, log, env: {}, random: Math.random };
  return { source: natsCoreSource(spec, options), store: undefined };
}

function nobody({ source }: Begun, name: string): Refused {
  return { what: "a server that is not there", source, name, secret: SECRET };
}

function headersOf(beside: Beside | undefined) {
  if (beside === undefined) return {};
  const said = headers();
  said.append("Behest-Agent", beside.agent);
  said.append("traceparent", beside.traceparent);
  return { headers: said };
}

describeLogSource("a stream of Redis", LOG, redisPlace);
describeLogSource("a stream of JetStream", LOG, jetstreamPlace);
describeSource("core NATS", { ...BROKER, keepsAppends: false, shows: ["refused"] }, corePlace);
describeStore("a hash in Redis", async () => {
  await redisServer.ask("FLUSHALL");
  return { begin: () => redis.inputOf(redisServer.port).store, close: () => Promise.resolve() };
});
describeStore("a bucket of JetStream", async () => {
  await natsServer.clear();
  await natsServer.makeStream();
  return { begin: () => nats.inputOf(natsServer.port).store, close: () => Promise.resolve() };
});
