import { relativesOf, type Relative, type StateStore } from "../../state/store.ts";
import { consumerName } from "./consumer.ts";
import { JetStreamSource } from "./jetstream.ts";
import { KvStore } from "./kv-store.ts";
import { NatsLink, type LinkOptions } from "./link.ts";
import type { NatsSpec } from "./spec.ts";

export interface NatsInputOptions extends LinkOptions {
  /** The I of `--shard I/N`; undefined without shards. */
  readonly shard: number | undefined;
}

/**
 * A stream and the state beside it, over one connection that is not made yet. To be opened in this order:
 * the state, which replaces an older process, and the source, which takes its consumer away from it.
 */
export function natsInput(
  spec: NatsSpec,
  options: NatsInputOptions,
): {
  readonly source: JetStreamSource;
  readonly store: StateStore;
  readonly relatives: readonly Relative[];
} {
  const { log, clock, random, shard } = options;
  const link = new NatsLink(spec, options);
  const consumer = consumerName(spec.durable, shard);
  const store = new KvStore(link, {
    owner: consumer,
    log,
    acknowledge: (ids) => source.acknowledge(ids),
  });
  const isReplaced = () => store.isReplaced();
  const source = new JetStreamSource(link, { consumer, log, clock, random, isReplaced });
  const relatives = relativesOf(shard).map(
    (other) => new KvStore(link, { owner: consumerName(spec.durable, other), log, acknowledge: () => {} }),
  );
  return { source, store, relatives };
}
