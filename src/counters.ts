import type { Clock } from "./clock.ts";
import { fromMillis } from "./event/time.ts";
import { addSnapshots } from "./metric/combine.ts";
import type { Snapshot } from "./metric/snapshot.ts";
import type { MetricsOutlet } from "./otel/metrics-outlet.ts";
import type { Settling } from "./settling.ts";

/** Lanes whose counters are added up and sent under one `service.instance.id`, because they begin and go on together. */
export class Counters {
  readonly lanes: readonly Settling[];
  readonly #out: MetricsOutlet;
  readonly #clock: Clock;
  #isTaken = true;

  constructor(lanes: readonly Settling[], out: MetricsOutlet, clock: Clock) {
    this.lanes = lanes;
    this.#out = out;
    this.#clock = clock;
  }

  /** Nothing of the last reading was given up. */
  get isTaken(): boolean {
    return this.#isTaken;
  }

  /** All data points as they were settled. */
  get snapshot(): Snapshot {
    return addSnapshots(this.lanes.map(({ snapshot }) => snapshot));
  }

  /**
   * Sends what was settled. Nothing of a process that was replaced, or counters would fall; and only what can
   * be read off now of one that cannot find out.
   */
  async send(): Promise<void> {
    const owners = await this.#owners();
    if (owners.includes("another's")) return;
    for (const { spans } of this.lanes) spans.ledger.touch();
    const nowMs = this.#clock.now();
    const { snapshot } = this;
    if (owners.includes("unknown")) {
      this.#isTaken = (await this.#out.putGauges(snapshot, fromMillis(nowMs))) !== "given up";
      return;
    }
    const told = this.lanes.map((lane) => ({ lane, counted: lane.counted }));
    const end = await this.#out.put(snapshot, fromMillis(nowMs));
    this.#isTaken = end !== "given up";
    if (end !== "taken" || !this.#out.isDelta) return;
    await Promise.all(told.map(({ lane, counted }) => lane.tell(counted, nowMs)));
  }

  #owners(): Promise<("ours" | "another's" | "unknown")[]> {
    return Promise.all(this.lanes.map((lane) => lane.whose()));
  }
}
