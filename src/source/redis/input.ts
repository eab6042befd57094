import { randomUUID } from "node:crypto";

import type { Clock } from "../../clock.ts";
import type { Log } from "../../log.ts";
import { relativesOf, type Relative } from "../../state/store.ts";
import { Link } from "./link.ts";
import { Ownership, stateKey } from "./ownership.ts";
import { StreamReader } from "./reader.ts";
import { RedisSource } from "./source.ts";
import { RedisStateStore } from "./store.ts";
import { PASSWORD_VARIABLE, redisName, SENTINEL_PASSWORD_VARIABLE, type RedisSpec } from "./url.ts";

export interface RedisInputOptions {
  /** The I of `--shard I/N`; undefined without shards. */
  readonly shard: number | undefined;
  readonly log: Log;
  readonly clock: Clock;
  /** Has the passwords that do not stand in the URL. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** From 0 to below 1, for the pauses between two tries. */
  readonly random: () => number;
}

/**
 * A stream and the state of its reading, not yet connected: the store is opened first. Each shard has a group
 * of its own, for a group gives every entry to one consumer only; and it has one consumer, by a name
 * that every life of the shard has.
 */
export function redisInput(
  spec: RedisSpec,
  { shard, log, clock, env, random }: RedisInputOptions,
): {
  readonly source: RedisSource;
  readonly store: RedisStateStore;
  readonly relatives: readonly Relative[];
} {
  const name = redisName(spec);
  const { stream, start } = spec;
  const group = shard === undefined ? spec.group : `${spec.group}:${shard}`;
  const [password, sentinelPassword] = [env[PASSWORD_VARIABLE], env[SENTINEL_PASSWORD_VARIABLE]];
  const newLink = () => new Link({ spec, password, sentinelPassword, clock });
  const ownership = new Ownership(stateKey(spec, shard), { writer: randomUUID(), log });
  const link = newLink();
  const consumer = `shard-${shard ?? 0}`;
  const reader = new StreamReader({ link, ownership, name, stream, group, consumer, start, clock, log });
  const storeOf = (owned: Ownership, onCommit: (used: readonly string[]) => void) =>
    new RedisStateStore({ link: newLink(), ownership: owned, stream, group, clock, onCommit });
  // The state without shards and that of the first one have the same key.
  const others = new Set(relativesOf(shard).map((other) => stateKey(spec, other)));
  others.delete(ownership.key);
  return {
    source: new RedisSource({ name, stream, group, link, asking: newLink(), reader, clock, log, random }),
    store: storeOf(ownership, (used) => reader.settle(used)),
    relatives: [...others].map((key) => storeOf(new Ownership(key, { writer: randomUUID(), log }), () => {})),
  };
}
