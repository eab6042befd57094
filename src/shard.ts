import type { Decoded } from "./event/decode.ts";
import { hashText } from "./event/hash.ts";

/** One of several processes that share the runs of one source: `--shard 0/2` is the first of two. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}

/**
 * Whether it falls to this shard: by a hash of its run id that never changes, so that all events of a run go
 * to one process. What has no run id, because it is no event, falls to the first.
 */
export function isOfShard(decoded: Decoded, { index, count }: Shard): boolean {
  const runId = decoded.type === "unknown" ? undefined : decoded.runId;
  return (runId === undefined ? 0 : hashText(runId) % count) === index;
}
