import { systemClock, type Clock } from "../../src/clock.ts";
import { LineSplitter } from "../../src/event/lines.ts";
import type { Delivery, LogSource, Reading, Source } from "../../src/source/source.ts";
import type { StateStore } from "../../src/state/store.ts";

/** What a process has of a source: nothing of it is opened. */
export interface Begun {
  readonly source: Source;
  /** Where the state of its reading is kept; undefined of what is read once. */
  readonly store: StateStore | undefined;
  /** Appends for this life alone, where each has a way in of its own; else all read in the same place. */
  readonly append?: Append;
}

export interface LogBegun extends Begun {
  readonly source: LogSource;
  readonly store: StateStore;
}

/** What can stand beside an event. */
export interface Beside {
  readonly agent: string;
  readonly traceparent: string;
}

export type Append = (lines: readonly string[], beside?: Beside) => Promise<void>;

/** Somewhere events are appended and read, with nothing in it. */
export interface Place<B extends Begun = Begun> {
  /** For the newest life; resolves when its source has them or they are on their way to it. */
  readonly append: Append;
  /** One life of a process that reads here. */
  begin(): B;
  /** Sources that cannot be opened; the message has to have the name in it, and not the secret. */
  refused?(): Promise<readonly Refused[]>;
  /** Events that lie where they were appended and were not taken from there. */
  untaken?(): Promise<number>;
  /** Appends nothing more, where a source can know that. */
  end?(): void;
  close(): Promise<void>;
}

export interface Refused {
  readonly what: string;
  readonly source: Source;
  readonly name: string;
  readonly secret?: string;
}

/** A new place, for sources that are given this clock. */
export type Make<B extends Begun = Begun> = (clock: Clock) => Promise<Place<B>> | Place<B>;

const PATIENCE_MS = 5_000;

/** One life of a process that reads as the bridge does, and keeps what it got. */
export class Life<B extends Begun = Begun> {
  readonly source: B["source"];
  readonly store: B["store"];
  readonly append: Append | undefined;
  readonly stop = new AbortController();
  #isPrepared = false;
  readonly readings: Reading[] = [];
  /** Lines of chunks are deliveries whose id is where they stand. */
  readonly taken: Delivery[] = [];
  #splitter: LineSplitter | undefined;

  constructor(begun: B) {
    this.source = begun.source;
    this.store = begun.store;
    this.append = begun.append;
  }

  /** What can go wrong without harm comes first, once. */
  async prepare(): Promise<void> {
    if (!this.#isPrepared) await this.source.prepare?.();
    this.#isPrepared = true;
  }

  /** In the order in which the bridge does it. */
  async open(): Promise<this> {
    await this.prepare();
    const records = new Map<string, string>();
    if (this.store !== undefined) {
      for await (const [key, value] of await this.store.open()) records.set(key, value);
    }
    await this.source.open(records.get("position"));
    return this;
  }

  async next(signal = this.stop.signal): Promise<Reading | undefined> {
    const reading = await soon("a reading", this.source.next(signal));
    if (reading === undefined) {
      if (!signal.aborted) this.#splitter?.end();
      return undefined;
    }
    this.readings.push(reading);
    if (reading.kind === "deliveries") this.taken.push(...reading.deliveries);
    if (reading.kind === "chunk") this.#cut(reading.bytes, reading.position.file);
    if (reading.kind === "break") {
      this.#splitter?.end();
      this.#splitter = undefined;
    }
    return reading;
  }

  /** Takes until so many are taken in this life. */
  async takeUntil(count: number): Promise<readonly Delivery[]> {
    while (this.taken.length < count) {
      const reading = await this.next();
      if (reading !== undefined) continue;
      if (this.taken.length >= count) break;
      throw new Error(`it ended after ${this.taken.length} events of ${count}`);
    }
    return this.taken;
  }

  /** Takes at least so many, and then what there is until nothing is left. */
  async takeAll(least = 0): Promise<readonly Delivery[]> {
    await this.takeUntil(least);
    for (;;) {
      const reading = await this.next();
      if (reading === undefined || reading.kind === "caught_up") return this.taken;
    }
  }

  /** Everything that was said of time, in its order. */
  get times(): (number | undefined)[] {
    return this.readings.flatMap((reading) => {
      if (reading.kind === "deliveries") return reading.deliveries.map(({ appendedMs }) => appendedMs);
      return reading.kind === "caught_up" ? [reading.nowMs] : [];
    });
  }

  /** Commits these but the unused ones, and that all up to the last of them were taken. */
  async use(taken: readonly Delivery[], unused: readonly Delivery[] = []): Promise<void> {
    const last = taken.at(-1);
    if (last === undefined) return;
    const used = taken.filter((delivery) => !unused.includes(delivery));
    const position = this.log.positionOf(last.id, idsOf(unused));
    await this.commit(position, idsOf(used));
  }

  async commit(position: string, used: readonly string[]): Promise<void> {
    await this.store?.commit({ puts: new Map([["position", position]]), removes: [], used });
  }

  async end(): Promise<void> {
    this.stop.abort();
    await this.source.close();
    await this.store?.close();
  }

  get log(): LogSource {
    if (!("positionOf" in this.source)) throw new Error(`${this.source.name} is no log`);
    return this.source as LogSource;
  }

  #cut(chunk: Buffer, file: string): void {
    const take = (payload: Buffer, wholeBytes?: number) => {
      const id = `${file}:${this.#splitter?.lineStart}`;
      const whole = wholeBytes === undefined ? {} : { wholeBytes };
      this.taken.push({ id, appendedMs: undefined, payload, outside: undefined, ...whole });
    };
    this.#splitter ??= new LineSplitter({
      onLine: (buffer, start, end) => take(Buffer.from(buffer.subarray(start, end))),
      onTooLong: (bytes, head) => take(head, bytes),
    });
    this.#splitter.push(chunk);
  }
}

/** What the facts of a contract are shown with. */
export interface Stage<B extends Begun> {
  readonly place: Place<B>;
  /** A life that is ended with the test. */
  readonly begin: () => Life<B>;
}

export async function onStage<B extends Begun>(
  make: Make<B>,
  show: (stage: Stage<B>) => Promise<void>,
  clock: Clock = systemClock,
): Promise<void> {
  const place = await make(clock);
  const lives: Life<B>[] = [];
  const begin = () => {
    const life = new Life<B>(place.begin());
    lives.push(life);
    return life;
  };
  try {
    await show({ place, begin });
  } finally {
    for (const life of lives) await life.end();
    await place.close();
  }
}

/** Rejects when it takes much longer than it may on a busy machine, and says what did not come. */
export async function soon<T>(what: string, promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const cancel = systemClock.after(PATIENCE_MS, () =>
    late.reject(new Error(`${what} did not come within ${PATIENCE_MS} ms`)),
  );
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    cancel();
  }
}

/** What something was refused with. */
export async function refusalOf(opening: Promise<unknown>): Promise<Error> {
  try {
    await opening;
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("it was not refused");
}

export const idsOf = (deliveries: readonly Delivery[]) => deliveries.map(({ id }) => id);
export const textsOf = (deliveries: readonly Delivery[]) =>
  deliveries.map(({ payload }) => payload.toString());
/** All of them but the class of their bytes, so that a difference can be read. */
export const shown = (deliveries: readonly Delivery[]) =>
  deliveries.map(({ payload, ...rest }) => ({ ...rest, payload: payload.toString("latin1") }));
