import type { Delivery } from "../source.ts";
import { cut, type Cut } from "./cut.ts";
import type { Deposit, Taken } from "./deposit.ts";
import { Room } from "./room.ts";

/** What one waiting body costs beside its bytes. */
export const TAKEN_BYTES = 1_024;

/** Deliveries handed out at once, and bytes in them: the loop has a turn for others after each. */
const BATCH_DELIVERIES = 1_000;
const BATCH_BYTES = 1024 * 1024;

/**
 * Bodies that were taken and wait to be used, in order of their end: at most `maxBytes` of them, or one. Their
 * events are cut out again as they are handed out, so that what waits costs its bytes and little more. What is
 * put here is lost with the process.
 */
export class Intake implements Deposit {
  readonly #room: Room;
  readonly #now: () => number;
  readonly #waiting: Waiting[] = [];
  #lastMs = 0;
  #count = 0;
  #phase: Deposit["phase"] = "starting";
  #fullSinceMs: number | undefined;
  #onNews = () => {};

  constructor(options: { readonly maxBytes: number; readonly now: () => number }) {
    this.#room = new Room(options.maxBytes);
    this.#now = options.now;
  }

  get phase(): Deposit["phase"] {
    return this.#phase;
  }

  /** Calls `tell` when something came or the intake was stopped. */
  set onNews(tell: () => void) {
    this.#onNews = tell;
  }

  nowMs(): number {
    this.#lastMs = Math.max(this.#lastMs, Math.floor(this.#now()));
    return this.#lastMs;
  }

  /** Takes bodies from now on. */
  begin(): void {
    if (this.#phase === "starting") this.#phase = "taking";
  }

  /** Takes nothing from now on; what waits is still handed out. */
  stop(): void {
    this.#phase = "stopped";
    this.#onNews();
  }

  hasRoomFor(bytes: number): boolean {
    const fits = this.#room.fits(bytes + TAKEN_BYTES);
    if (!fits) this.#fullSinceMs ??= this.nowMs();
    return fits;
  }

  put(taken: Taken): "taken" | "full" | "stopped" {
    if (this.#phase !== "taking") return "stopped";
    const held = taken.bytes.length + TAKEN_BYTES;
    if (!this.hasRoomFor(taken.bytes.length)) return "full";
    this.#room.take(held);
    this.#fullSinceMs = undefined;
    this.#count += 1;
    const events = cut(taken.bytes, taken.form);
    this.#waiting.push({ ...taken, events, held, name: `req-${this.#count}`, appendedMs: this.nowMs() });
    this.#onNews();
    return "taken";
  }

  /** The next events, each `req-N/LINE`; none when nothing waits. */
  hand(): readonly Delivery[] {
    const deliveries: Delivery[] = [];
    let bytes = 0;
    while (deliveries.length < BATCH_DELIVERIES && bytes < BATCH_BYTES) {
      const [first] = this.#waiting;
      if (first === undefined) break;
      const { done, value } = first.events.next();
      if (done) {
        this.#waiting.shift();
        this.#room.give(first.held);
        continue;
      }
      bytes += value.end - value.start;
      deliveries.push(deliveryOf(first, value));
    }
    if (this.#waiting.length === 0) this.#fullSinceMs = undefined;
    return deliveries;
  }

  refusing(): ReturnType<Deposit["refusing"]> {
    if (this.#fullSinceMs === undefined) return undefined;
    return { why: "full", forMs: this.nowMs() - this.#fullSinceMs };
  }
}

interface Waiting extends Taken {
  readonly name: string;
  readonly appendedMs: number;
  readonly held: number;
  /** Those that were not handed out. */
  readonly events: ReturnType<typeof cut>;
}

function deliveryOf({ name, appendedMs, bytes, outside }: Waiting, { start, end, line }: Cut): Delivery {
  return { id: `${name}/${line}`, appendedMs, payload: bytes.subarray(start, end), outside };
}
