import { NatsServer, STREAM, SUBJECT } from "../e2e/nats-server.ts";
import { startRedis, type RedisBroker } from "../e2e/redis-broker.ts";

/** Durable and group by which the bridge reads. */
const GROUP = "behest-otel";

/** Real brokers with a stream of events each. */
export interface Brokers extends AsyncDisposable {
  /** What `--from` is given. */
  readonly redisFrom: string;
  readonly natsFrom: string;
  /** Resolve when all are appended, in this order. */
  readonly toRedis: (lines: readonly string[]) => Promise<unknown>;
  readonly toNats: (lines: readonly string[]) => Promise<unknown>;
  /** What was not handed out or is not acknowledged, in both. */
  readonly left: () => Promise<number>;
}

export async function startBrokers(): Promise<Brokers> {
  const redis: RedisBroker = await startRedis();
  const nats = await NatsServer.start();
  await nats.makeStream();
  return {
    redisFrom: redis.from(GROUP),
    natsFrom: `nats://127.0.0.1:${nats.port}?stream=${STREAM}&subject=${SUBJECT}&durable=${GROUP}&create=true`,
    toRedis: redis.publish,
    toNats: (lines) =>
      Promise.all(lines.map((line) => nats.jetstream.publish(SUBJECT, line, { timeout: 30_000 }))),
    left: async () => {
      const { num_pending, num_ack_pending } = await nats.consumer(GROUP);
      return (await redis.left(GROUP)) + num_pending + num_ack_pending;
    },
    async [Symbol.asyncDispose]() {
      await redis[Symbol.asyncDispose]();
      await nats[Symbol.asyncDispose]();
    },
  };
}
