import {
  deliveryId,
  expectedBetween,
  formatPosition,
  hasSequence,
  parseDeliveryId,
  sequenceSet,
  startOf,
  upTo,
  type NatsPosition,
  type SequenceSet,
} from "./position.ts";

/** What is to be done with a message that came. */
export type Verdict =
  /** It comes for the first time. */
  | { readonly kind: "new"; readonly id: string; readonly appendedMs: number }
  /** It was handed out and is not committed: the server repeats itself. */
  | { readonly kind: "held" }
  /** It was committed, and the server does not know. */
  | { readonly kind: "used" };

interface HandedOut {
  reply: string;
  readonly appendedMs: number;
}

/**
 * What was handed out of one life of a stream, and what of it is committed. Messages come in ascending
 * sequence, but any of them may come again from a lower one on.
 */
export class Ledger {
  /** Where this life began to be read. */
  readonly position: NatsPosition;
  #cursor: number;
  #appendedMs: number;
  /** In ascending sequence. */
  readonly #handedOut = new Map<number, HandedOut>();

  constructor(position: NatsPosition) {
    this.position = position;
    this.#cursor = startOf(position) - 1;
    this.#appendedMs = position.appendedMs;
  }

  /** The highest sequence that came, or is known to come no more. */
  get cursor(): number {
    return this.#cursor;
  }

  /** The newest append time that was handed out. */
  get appendedMs(): number {
    return this.#appendedMs;
  }

  /** The lowest sequence that is not committed: where reading has to begin for all the rest to come. */
  get lowest(): number {
    const [first] = this.#handedOut.keys();
    return first ?? Math.max(this.#cursor + 1, startOf(this.position));
  }

  /** What became of a message; `reply` is where it will be acknowledged. */
  take(message: { readonly sequence: number; readonly appendedMs: number; readonly reply: string }): Verdict {
    const { sequence, reply } = message;
    if (sequence <= this.#cursor) {
      const handedOut = this.#handedOut.get(sequence);
      if (handedOut === undefined) return { kind: "used" };
      handedOut.reply = reply;
      return { kind: "held" };
    }
    this.#cursor = sequence;
    // Clocks of servers are set, and another server may take over.
    this.#appendedMs = Math.max(this.#appendedMs, message.appendedMs);
    const { next, unused, life } = this.position;
    if (sequence < next && !hasSequence(unused, sequence)) return { kind: "used" };
    const appendedMs = this.#appendedMs;
    this.#handedOut.set(sequence, { reply, appendedMs });
    return { kind: "new", id: deliveryId(life, sequence), appendedMs };
  }

  /** Nothing up to this sequence will come any more. Gives how many were still to come. */
  skipTo(sequence: number): number {
    const missing = this.missing(this.#cursor, sequence + 1);
    this.#cursor = Math.max(this.#cursor, sequence);
    return missing;
  }

  /** How many that were still to be read lie between two sequences, both left out. */
  missing(after: number, before: number): number {
    return expectedBetween(this.position, after, before);
  }

  /** It is committed. Gives where to acknowledge it; undefined when there is nothing to acknowledge. */
  commit(id: string): string | undefined {
    const { life, sequence } = parseDeliveryId(id);
    const handedOut = life === this.position.life ? this.#handedOut.get(sequence) : undefined;
    if (handedOut === undefined) return undefined;
    this.#handedOut.delete(sequence);
    return handedOut.reply;
  }

  /** What of the first messages, up to a sequence, is not committed. */
  uncommittedUpTo(sequence: number): SequenceSet {
    const handedOut = [...this.#handedOut.keys()].filter((one) => one <= sequence);
    const toCome = sequencesFrom(upTo(this.position.unused, sequence), this.#cursor + 1);
    return sequenceSet([...handedOut, ...toCome]);
  }

  /**
   * See `LogSource.positionOf`. It is behind everything that came, or will come no more: what went before it
   * could be handed out is so no longer expected by the next life, and not missed again.
   */
  positionOf(last: string | undefined, unused: readonly string[]): string {
    const { stream, life } = this.position;
    const taken = last === undefined ? undefined : parseDeliveryId(last);
    // Of a life that is over nothing can be read again, whatever is not used of it.
    const lastTaken = taken?.life === life ? taken.sequence : 0;
    const set = sequenceSet([
      ...unused.map(parseDeliveryId).flatMap((id) => (id.life === life ? [id.sequence] : [])),
      ...[...this.#handedOut.keys()].filter((sequence) => sequence > lastTaken),
      ...sequencesFrom(this.position.unused, this.#cursor + 1),
    ]);
    const first = set[0];
    const handedOut = first === undefined ? undefined : this.#handedOut.get(first);
    return formatPosition({
      stream,
      life,
      next: Math.max(this.#cursor + 1, this.position.next),
      unused: set,
      appendedMs: handedOut?.appendedMs ?? this.#appendedMs,
    });
  }
}

/** Every one of the set from a sequence on. */
function sequencesFrom(set: SequenceSet, from: number): number[] {
  const sequences: number[] = [];
  for (let index = 0; index < set.length; index += 2) {
    const last = set[index + 1] ?? 0;
    for (let one = Math.max(set[index] ?? 0, from); one <= last; one += 1) sequences.push(one);
  }
  return sequences;
}
