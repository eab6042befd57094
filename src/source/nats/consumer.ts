import type { ConsumerConfig, ConsumerInfo, JetStreamManager, StreamInfo } from "@nats-io/jetstream";

import type { Clock } from "../../clock.ts";
import { apiCode, CONSUMER_CREATE, CONSUMER_EXISTS, CONSUMER_NOT_FOUND } from "./answer.ts";
import { REQUEST_TIMEOUT_MS, type Linked, type NatsLink } from "./link.ts";

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
const MAX_TRIES = 5;
/** After that the server forgets a consumer that was only made to see whether it can be. */
const TRIAL_NS = 60 * 1e9;

export function consumerName(durable: string, shard: number | undefined): string {
  return shard === undefined ? durable : `${durable}-shard-${shard}`;
}

/**
 * Finds out whether the server would make the consumer, and lets go of the one of that name, without touching that one:
 * it is asked to make it with something else that can never be changed, and to delete it with a request that says more
 * than one may; it refuses both, when it has looked at all the rest. Where there is none it makes one, and
 * forgets it again within a minute or so. Rejects as the server does.
 */
export async function tryConsumer(
  link: NatsLink,
  { connection, manager }: Linked,
  { name, stream }: { readonly name: string; readonly stream: StreamInfo },
): Promise<void> {
  const known = await consumerInfo(link, manager, name);
  const config = {
    ...configOf(link.spec.subject, stream, 1),
    durable_name: name,
    inactive_threshold: TRIAL_NS,
    ...(known && { max_waiting: (known.config.max_waiting ?? 0) + 1 }),
  };
  try {
    await link.ask(() => manager.consumers.add(link.spec.stream, config));
  } catch (error) {
    if (!isOfAnother(error)) throw error;
  }
  const remove = `$JS.API.CONSUMER.DELETE.${link.spec.stream}.${name}`;
  await link.ask(() => connection.request(remove, "only asking", { timeout: REQUEST_TIMEOUT_MS }));
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
  const config = configOf(spec.subject, stream, startSequence);
  const add = (durable: string) =>
    link.ask(() => manager.consumers.add(spec.stream, { ...config, durable_name: durable }));
  const remove = async (durable: string) => {
    try {
      await link.ask(() => manager.consumers.delete(spec.stream, durable));
    } catch (error) {
      if (apiCode(error) !== CONSUMER_NOT_FOUND) throw error;
    }
  };
  const replace = async () => {
    for (let tries = 1; ; tries += 1) {
      await remove(name);
      try {
        return await add(name);
      } catch (error) {
        // Another process, perhaps one that only tries whether it could, has made its own in between.
        if (tries === MAX_TRIES || !isOfAnother(error)) throw error;
      }
    }
  };
  const standIn = stream.config.retention === "interest" ? `${name}-stand-in` : undefined;
  if (standIn !== undefined) {
    await remove(standIn);
    await add(standIn);
  }
  const { created } = await replace();
  // The answer took some time, so the server was ahead by this much or more.
  const serverAheadMs = Math.floor(Date.parse(created) - clock.now());
  if (standIn !== undefined) await remove(standIn);
  return { name, created, serverAheadMs };
}

/** What the server knows of a consumer; undefined when there is none of that name. */
export async function consumerInfo(
  link: NatsLink,
  manager: JetStreamManager,
  name: string,
): Promise<ConsumerInfo | undefined> {
  try {
    const info: Partial<ConsumerInfo> = await link.ask(() => manager.consumers.info(link.spec.stream, name));
    // Of one that it is just deleting, a server of 2.9 says nothing at all.
    return info.config === undefined ? undefined : (info as ConsumerInfo);
  } catch (error) {
    if (apiCode(error) !== CONSUMER_NOT_FOUND) throw error;
    return undefined;
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

/**
 * Why nothing of the stream would ever be read, in words; undefined when something may. Servers of today make such a
 * consumer all the same. Of what comes from other streams, or was renamed, the stream's subjects say nothing.
 */
export function subjectFault({ config }: StreamInfo, subject: string): string | undefined {
  const { name, subjects, mirror, sources, subject_transform } = config;
  const isRenamed = mirror !== undefined || (sources ?? []).length > 0 || subject_transform !== undefined;
  if (isRenamed || subjects.some((other) => overlap(other, subject))) return undefined;
  const own = subjects.join(", ");
  return `the stream ${name} takes ${own} and nothing of ${subject}; expected subject= to be one of its own`;
}

function configOf(subject: string, { config }: StreamInfo, startSequence: number): Partial<ConsumerConfig> {
  return {
    description: "behest-otel: made again at every start, where its state says",
    filter_subject: subject,
    ack_policy: "explicit",
    ack_wait: ACK_WAIT_NS,
    max_ack_pending: MAX_ACK_PENDING,
    replay_policy: "instant",
    // A work queue lets nobody begin anywhere but at its beginning.
    ...(config.retention === "workqueue"
      ? { deliver_policy: "all" }
      : { deliver_policy: "by_start_sequence", opt_start_seq: startSequence }),
  };
}

/** All is well with a consumer but that there is one of its name: since 2.10 in a number, before in words. */
function isOfAnother(error: unknown): boolean {
  const code = apiCode(error);
  return (
    code === CONSUMER_EXISTS ||
    (code === CONSUMER_CREATE && error instanceof Error && error.message.includes("can not be updated"))
  );
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

/** Some subject is one that both stand for. */
export function overlap(one: string, other: string): boolean {
  const [words, others] = [one.split("."), other.split(".")];
  for (const [index, word] of words.entries()) {
    const against = others[index];
    if (against === undefined) return false;
    if (word === ">" || against === ">") return true;
    if (word !== "*" && against !== "*" && word !== against) return false;
  }
  return words.length === others.length;
}
