import { BridgeError } from "../../errors.ts";
import { compareIds, FIRST_ID, idBefore, isEntryId } from "./entry-id.ts";
import type { Made } from "./group.ts";
import type { Entry } from "./reply.ts";

/** Where reading goes on: every entry up to `last` is used, but for the unused ones, oldest first. */
export interface RedisPosition {
  readonly last: string;
  readonly unused: readonly string[];
}

/** Entries that a group gives, parted by what is known of them. */
export interface Sifted {
  /** Never handed out in this life, and not used in an earlier one. */
  readonly unknown: readonly Entry[];
  /** Used and committed: nobody will acknowledge them again. */
  readonly used: readonly string[];
}

/**
 * What was handed out of a stream, and what of it is committed. The group on the server knows the same, but it can be
 * destroyed, and is then made again from here. Positions are of all lives together: what an earlier
 * one used behind the newest entry of this one, and what it left unused, are part of them.
 */
export class Ledger {
  #committed: RedisPosition | undefined;
  /** The one asked for last. */
  #asked: RedisPosition | undefined;
  /** Handed out in this life and not committed. */
  readonly #held = new Set<string>();
  #newest = FIRST_ID;
  /** Older ones that came late, claimed from others, and the newest that was handed out before each. */
  readonly #newestBefore = new Map<string, string>();
  /** Unused ones of earlier lives that were not handed out again yet. */
  #left: Set<string> = new Set();
  /** Up to here what a group gives that was made again may be known already. */
  #knownTo: string | undefined;

  /** The group begins behind this one when it is made again; undefined before anything is known. */
  get resume(): string | undefined {
    if (this.#committed === undefined) return undefined;
    const { last, unused } = this.#committed;
    const [oldest] = [...unused, ...this.#left].toSorted(compareIds);
    return oldest !== undefined && compareIds(oldest, last) <= 0 ? idBefore(oldest) : last;
  }

  /** Goes on from a committed position. */
  restore(position: RedisPosition): void {
    this.#committed = position;
    this.#asked = position;
    this.#left = new Set(position.unused);
  }

  /** The group is there, past `at`, and these of its entries were handed out to earlier lives. */
  join(pending: readonly string[], at: string): void {
    if (this.#committed === undefined) this.restore({ last: at, unused: pending });
    this.#left = new Set(pending);
  }

  /** The group was made again: from now on `sift` looks at what it gives. */
  remade({ at, isOtherStream }: Made): void {
    if (isOtherStream || this.#committed === undefined) {
      this.#held.clear();
      this.#newestBefore.clear();
      this.#newest = at;
      this.restore({ last: at, unused: [] });
    }
    this.#knownTo = laterOf(this.#newest, this.#committed?.last ?? at);
  }

  /** Parts what the group gave: in ascending order, and nothing that was claimed from others. */
  sift(entries: readonly Entry[]): Sifted {
    const committed = this.#committed;
    if (this.#knownTo === undefined || committed === undefined) return { unknown: entries, used: [] };
    const unused = new Set([...committed.unused, ...this.#left]);
    const isUsed = (id: string) => compareIds(id, committed.last) <= 0 && !unused.has(id);
    const others = entries.filter(({ id }) => !this.#held.has(id));
    return {
      unknown: others.filter(({ id }) => !isUsed(id)),
      used: others.map(({ id }) => id).filter(isUsed),
    };
  }

  handedOut(id: string): void {
    this.#held.add(id);
    this.#left.delete(id);
    if (compareIds(id, this.#newest) > 0) this.#newest = id;
    else this.#newestBefore.set(id, this.#newest);
    if (this.#knownTo !== undefined && compareIds(id, this.#knownTo) > 0) this.#knownTo = undefined;
  }

  /** It was removed from the stream, and will never be handed out. */
  gone(id: string): void {
    this.#left.delete(id);
  }

  /** Everything there is was handed out: what is still left of earlier lives is no longer there. */
  caughtUp(): void {
    this.#left.clear();
  }

  /** See `LogSource.positionOf`. */
  positionOf(last: string | undefined, unused: readonly string[]): string {
    // Others are of a stream that is gone, whose name this one has.
    const isHere = (id: string) => compareIds(id, this.#newest) <= 0;
    const before = this.#asked?.last ?? FIRST_ID;
    const isOfNow = last !== undefined && isHere(last);
    this.#asked = {
      last: isOfNow ? laterOf(this.#newestBefore.get(last) ?? last, before) : before,
      // While nothing is taken, all that was handed out is unused.
      unused: [...this.#left, ...(last === undefined ? this.#held : unused.filter(isHere))].toSorted(
        compareIds,
      ),
    };
    return formatPosition(this.#asked);
  }

  /** These are committed, and with them the position asked for last. */
  settle(used: readonly string[]): void {
    // A commit of nothing only asks who owns the state: what was asked for last may still fail.
    if (used.length === 0) return;
    for (const id of used) {
      this.#held.delete(id);
      this.#newestBefore.delete(id);
    }
    this.#committed = this.#asked;
  }
}

/** As text: `last`, the oldest unused id, and each further one as its distance in milliseconds and its number. */
export function formatPosition({ last, unused }: RedisPosition): string {
  let beforeMs = 0n;
  const steps = unused.map((id) => {
    const [ms = "0", number = "0"] = id.split("-");
    const step = `${BigInt(ms) - beforeMs}-${number}`;
    beforeMs = BigInt(ms);
    return step;
  });
  return [last, ...steps].join(" ");
}

/** Reads what `formatPosition` wrote, for a source of this name; throws `BEHEST_SOURCE_OPEN` for anything else. */
export function parsePosition(text: string, source: string): RedisPosition {
  const [last = "", ...steps] = text.split(" ");
  if (![last, ...steps].every(isEntryId)) {
    throw new BridgeError(
      "BEHEST_SOURCE_OPEN",
      `${source}: the saved position ${JSON.stringify(text.slice(0, 100))} is none of a Redis stream; expected an entry id`,
    );
  }
  let ms = 0n;
  const unused = steps.map((step) => {
    const [distance = "0", number = "0"] = step.split("-");
    ms += BigInt(distance);
    return `${ms}-${number}`;
  });
  return { last, unused };
}

function laterOf(a: string, b: string): string {
  return compareIds(a, b) > 0 ? a : b;
}
