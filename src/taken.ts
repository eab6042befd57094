import type { Event } from "./event/event.ts";

/** A moment in the reading of a source, as far as committing is concerned. */
export interface Settled {
  /** Ids of deliveries whose fate is decided since the last moment, oldest first. */
  readonly used: readonly string[];
  /** Ids of older ones whose events still wait. */
  readonly unused: readonly string[];
  /** The newest delivery that was taken; undefined before the first. */
  readonly last: string | undefined;
}

interface Entry {
  readonly id: string;
  readonly event: Event | undefined;
}

/** The deliveries that were taken from a source and whose fate is not known to be decided, oldest first. */
export class Taken {
  #open: Entry[] = [];
  #last: string | undefined;

  get size(): number {
    return this.#open.length;
  }

  /** `event` is what the heart was given; undefined for what was decided at once. */
  take(id: string, event: Event | undefined): void {
    this.#open.push({ id, event });
    this.#last = id;
  }

  /** Lets go of everything that is decided: all but `undecided`. */
  settle(undecided: Iterable<Event>): Settled {
    const waiting = new Set(undecided);
    const used: string[] = [];
    const open: Entry[] = [];
    for (const entry of this.#open) {
      if (entry.event !== undefined && waiting.has(entry.event)) open.push(entry);
      else used.push(entry.id);
    }
    this.#open = open;
    return { used, unused: open.map(({ id }) => id), last: this.#last };
  }
}
