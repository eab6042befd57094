import type { ConsumerConfig, JetStreamManager, StreamInfo } from "@nats-io/jetstream";

import type { Clock } from "../../clock.ts";
import { apiCode, CONSUMER_NOT_FOUND } from "./answer.ts";
import type { NatsLink } from "./link.ts";

/** What a stream has, as far as reading it goes. */
export interface StreamFacts {
  /** Another one is another stream of the same name. */
  readonly created: string;
  readonly firstSequence: number;
  readonly lastSequence: number;
  /** Every message of the stream is one that we read, so a sequence that is not there is lost. */
  readonly isAllOurs: boolean;
}

export interface Consumer {
  readonly name: string;
  /** When it was made, as the server says it: another one is another consumer of the same name. */
  readonly created: string;
  /** At least so many milliseconds is the server's clock ahead of ours; below 0 when it is behind. */
  readonly serverAheadMs: number;
}

/** Messages that may wait for their acknowledgement; beyond it the server gives out no more. */
const MAX_ACK_PENDING = 65_536;
/**
 * After that the server hands out again what was not acknowledged. An export may be waited for as long as
 * it takes, a message that gets lost on its way shows in the numbering at once, and whatever else happens
 * the consumer is made anew: so nothing ever needs this, and a short one would only repeat what is here.
 */
const ACK_WAIT_NS = 24 * 3_600 * 1e9;

export function consumerName(durable: string, shard: number | undefined): string {
  return shard === undefined ? durable : `${durable}-shard-${shard}`;
}

/**
 * Makes the durable consumer anew, beginning at a sequence: what the server remembers of it is never used.
 *
 * A stream that keeps messages only as long as somebody wants them would drop ours in between, so there
 * another consumer wants them meanwhile.
 */
export async function makeConsumer(
  link: NatsLink,
  manager: JetStreamManager,
  options: {
    readonly name: string;
    readonly stream: StreamInfo;
    readonly startSequence: number;
    readonly clock: Clock;
  },
): Promise<Consumer> {
  const { name, stream, startSequence, clock } = options;
  const { spec } = link;
  const config: Partial<ConsumerConfig> = {
    description: "behest-otel: made again at every start, where its state says",
    filter_subject: spec.subject,
    ack_policy: "explicit",
    ack_wait: ACK_WAIT_NS,
    max_ack_pending: MAX_ACK_PENDING,
    replay_policy: "instant",
    // A work queue lets nobody begin anywhere but at its beginning.
    ...(stream.config.retention === "workqueue"
      ? { deliver_policy: "all" }
      : { deliver_policy: "by_start_sequence", opt_start_seq: startSequence }),
  };
  const add = (durable: string) =>
    link.ask(() => manager.consumers.add(spec.stream, { ...config, durable_name: durable }));
  const remove = async (durable: string) => {
    try {
      await link.ask(() => manager.consumers.delete(spec.stream, durable));
    } catch (error) {
      if (apiCode(error) !== CONSUMER_NOT_FOUND) throw error;
    }
  };
  const standIn = stream.config.retention === "interest" ? `${name}-stand-in` : undefined;
  if (standIn !== undefined) {
    await remove(standIn);
    await add(standIn);
  }
  await remove(name);
  const { created } = await add(name);
  // The answer took some time, so the server was ahead by this much or more.
  const serverAheadMs = Math.floor(Date.parse(created) - clock.now());
  if (standIn !== undefined) await remove(standIn);
  return { name, created, serverAheadMs };
}

/** The last sequence that the consumer has handed out to anybody; 0 when there is no such consumer. */
export async function lastDelivered(
  link: NatsLink,
  manager: JetStreamManager,
  name: string,
): Promise<number> {
  try {
    const { delivered } = await link.ask(() => manager.consumers.info(link.spec.stream, name));
    return delivered.stream_seq;
  } catch (error) {
    if (apiCode(error) !== CONSUMER_NOT_FOUND) throw error;
    return 0;
  }
}

/** An empty stream begins behind its last sequence. */
export function streamFacts({ created, state, config }: StreamInfo, subject: string): StreamFacts {
  return {
    created,
    firstSequence: state.messages === 0 ? state.last_seq + 1 : state.first_seq,
    lastSequence: state.last_seq,
    isAllOurs: config.subjects?.length > 0 && config.subjects.every((other) => isWithin(other, subject)),
  };
}

/** Every subject that `inner` stands for is one that `outer` stands for as well. */
export function isWithin(inner: string, outer: string): boolean {
  const [words, others] = [inner.split("."), outer.split(".")];
  for (const [index, other] of others.entries()) {
    const word = words[index];
    if (word === undefined) return false;
    if (other === ">") return true;
    if (word === ">" || (other !== "*" && other !== word)) return false;
  }
  return words.length === others.length;
}
