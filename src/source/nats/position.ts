import { BridgeError } from "../../errors.ts";

/** Where reading a stream goes on, as part of the committed state. */
export interface NatsPosition {
  /** When the stream was created, as the server says it: another one is another stream of the same name. */
  readonly stream: string;
  /** How often the stream began anew under this state. */
  readonly life: number;
  /** Every message of a lower sequence is used, but for the unused ones. */
  readonly next: number;
  readonly unused: SequenceSet;
  /** Append time that was handed out for the last message before the first unused one or later, never below it. */
  readonly appendedMs: number;
}

/** Ascending sequences as ranges that do not touch: first and last of each, one after another. */
export type SequenceSet = readonly number[];

/** Sequences in ascending order, as a set. */
export function sequenceSet(ascending: Iterable<number>): SequenceSet {
  const set: number[] = [];
  for (const sequence of ascending) {
    if (set.at(-1) === sequence - 1) set[set.length - 1] = sequence;
    else set.push(sequence, sequence);
  }
  return set;
}

export function hasSequence(set: SequenceSet, sequence: number): boolean {
  let [low, high] = [0, set.length / 2];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((set[2 * middle + 1] ?? 0) < sequence) low = middle + 1;
    else high = middle;
  }
  return 2 * low < set.length && (set[2 * low] ?? 0) <= sequence;
}

/** How many of the set lie between two sequences, both left out. */
export function countBetween(set: SequenceSet, after: number, before: number): number {
  let count = 0;
  for (let index = 0; index < set.length; index += 2) {
    const first = Math.max(set[index] ?? 0, after + 1);
    const last = Math.min(set[index + 1] ?? 0, before - 1);
    if (last >= first) count += last - first + 1;
  }
  return count;
}

/** Only those up to a sequence. */
export function upTo(set: SequenceSet, sequence: number): SequenceSet {
  const cut: number[] = [];
  for (let index = 0; index < set.length; index += 2) {
    const first = set[index] ?? 0;
    if (first > sequence) break;
    cut.push(first, Math.min(set[index + 1] ?? 0, sequence));
  }
  return cut;
}

/** The lowest sequence that is still to be read. */
export function startOf({ next, unused }: Pick<NatsPosition, "next" | "unused">): number {
  return Math.min(unused[0] ?? next, next);
}

/** How many messages between two sequences, both left out, are still to be read. */
export function expectedBetween(
  { next, unused }: Pick<NatsPosition, "next" | "unused">,
  after: number,
  before: number,
): number {
  return countBetween(unused, after, before) + Math.max(0, before - Math.max(after + 1, next));
}

/** As JSON; the unused sequences as lengths, of what is used and what is not in turn, backwards from `next`. */
export function formatPosition({ unused, ...position }: NatsPosition): string {
  const steps: number[] = [];
  let end = position.next - 1;
  for (let index = unused.length - 2; index >= 0; index -= 2) {
    const [first = 0, last = 0] = unused.slice(index, index + 2);
    steps.push(end - last, last - first + 1);
    end = first - 1;
  }
  return JSON.stringify({ ...position, unused: steps });
}

/** Reads what `formatPosition` wrote, for a source of this name; throws `BEHEST_SOURCE_OPEN` for anything else. */
export function parsePosition(text: string, source: string): NatsPosition {
  const position = readJson(text) as Partial<Record<keyof NatsPosition, unknown>> | null | undefined;
  const { stream, life, next, unused, appendedMs } = position ?? {};
  if (
    typeof stream !== "string" ||
    !isCount(life) ||
    !isCount(next) ||
    !isCount(appendedMs) ||
    !Array.isArray(unused) ||
    unused.length % 2 !== 0 ||
    !unused.every(isCount)
  ) {
    throw new BridgeError(
      "BEHEST_SOURCE_OPEN",
      `${source}: the position in the state is none of a JetStream source; expected the state of this source, or none`,
    );
  }
  const ranges: number[] = [];
  let end = next - 1;
  for (let index = 0; index < unused.length; index += 2) {
    const last = end - (unused[index] as number);
    const first = last - (unused[index + 1] as number) + 1;
    ranges.push(last, first);
    end = first - 1;
  }
  return { stream, life, next, unused: ranges.toReversed(), appendedMs };
}

/** Names a message of a stream; of one that began anew under the same state by its life as well. */
export function deliveryId(life: number, sequence: number): string {
  return life === 0 ? String(sequence) : `${life}:${sequence}`;
}

export function parseDeliveryId(id: string): { readonly life: number; readonly sequence: number } {
  const colon = id.indexOf(":");
  return {
    life: colon < 0 ? 0 : Number(id.slice(0, colon)),
    sequence: Number(id.slice(colon + 1)),
  };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
