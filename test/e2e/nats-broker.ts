import { JetStreamApiError } from "@nats-io/jetstream";

import type { Broker } from "./crash.ts";
import { NatsServer, STREAM, SUBJECT } from "./nats-server.ts";
import type { Appended } from "./producer.ts";

/** Of the server's API. */
const CONSUMER_NOT_FOUND = 10_014;

export interface NatsBroker extends Broker {
  readonly server: NatsServer;
}

/** NATS with JetStream and a stream, or with what `config` says. */
export async function startNats(config?: string): Promise<NatsBroker> {
  const server = await NatsServer.start(config);
  await server.makeStream();
  return {
    server,
    from: (group) =>
      `nats://127.0.0.1:${server.port}?stream=${STREAM}&subject=${SUBJECT}&durable=${group}&create=true`,
    publish: (lines) =>
      Promise.all(lines.map((line) => server.jetstream.publish(SUBJECT, line, { timeout: 30_000 }))),
    restart: () => server.restart(),
    log: () => logOf(server),
    left: async (group, shard) => {
      const name = shard === undefined ? group : `${group}-shard-${shard}`;
      try {
        const { num_pending, num_ack_pending } = await server.consumer(name);
        return num_pending + num_ack_pending;
      } catch (error) {
        if (!(error instanceof JetStreamApiError) || error.code !== CONSUMER_NOT_FOUND) throw error;
        // Every life makes it anew.
        return (await server.manager.streams.info(STREAM)).state.messages;
      }
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function logOf(server: NatsServer): Promise<readonly Appended[]> {
  const { state } = await server.manager.streams.info(STREAM);
  const reader = await server.jetstream.consumers.get(STREAM);
  const log: Appended[] = [];
  if (state.messages === 0) return log;
  for await (const message of await reader.consume()) {
    log.push({ line: message.string(), appendedMs: Math.floor(message.info.timestampNanos / 1e6) });
    if (message.seq === state.last_seq) break;
  }
  return log;
}
