import { fromMillis } from "../event/time.ts";
import type { Op } from "../run/op.ts";
import { jsonLine } from "./json.ts";
import type { SpanIds } from "./json.ts";
import type { Look } from "./look.ts";
import { statusLine } from "./status-line.ts";
import { RunStore } from "./store.ts";
import type { Shown, StoreLimits } from "./store.ts";
import { summaryLines } from "./summary-lines.ts";
import { Totals } from "./summary.ts";
import type { EventTotals } from "./summary.ts";
import { renderTree } from "./tree.ts";

export interface ViewOptions {
  readonly format: "text" | "json";
  /** Asked for every tree anew, so that a resized terminal counts. */
  look(): Look;
  /** Where text goes; awaited before more is made. When it rejects, the view closes and says nothing more. */
  write(text: string): Promise<void>;
  readonly ids: SpanIds;
  /**
   * Present: a line about the open runs is kept below the last run, for a terminal alone. `nowMs` is
   * the wall clock.
   */
  readonly live?: { nowMs(): number } | undefined;
  readonly limits?: Partial<StoreLimits>;
  readonly maxRows?: number;
}

/** Whether it makes sense to go on: `closed` after a write failed. */
export type ViewState = "open" | "closed";

/** Milliseconds between two drawings of the status line. */
const REDRAW_MS = 250;
/** Runs asked for the status line: more do not fit. */
const STATUS_RUNS = 4;
/** Text gathered before it is written, in UTF-16 units. */
const WRITE_UNITS = 64 * 1024;
/** Back to the first column and empties the line. */
const ERASE = "\r\x1b[2K";

/**
 * Prints every run when it has finished, and at the end those that have not and a summary. It has no
 * timer: with `live`, its owner calls `tick` a few times a second while the input is silent.
 */
export class View {
  readonly #options: ViewOptions;
  readonly #store: RunStore;
  readonly #totals = new Totals();
  #state: ViewState = "open";
  #shownRuns = 0;
  #statusDrawn = false;
  #lastDrawMs: number;
  #turn: Promise<unknown> = Promise.resolve();
  #writing: Promise<void> = Promise.resolve();
  #pendingWrites = 0;

  constructor(options: ViewOptions) {
    this.#options = options;
    this.#store = new RunStore(options.limits);
    this.#lastDrawMs = options.live?.nowMs() ?? 0;
  }

  /** Takes ops in the order of the heart; resolves when all that they finished is written. Calls wait for each other. */
  accept(ops: Iterable<Op>): Promise<ViewState> {
    return this.#inTurn(() => this.#take(ops));
  }

  /** The input has ended: prints the runs still open, oldest first, and the summary. Call it once. */
  end(events?: EventTotals): Promise<ViewState> {
    return this.#inTurn(() => this.#finish(events));
  }

  async #take(ops: Iterable<Op>): Promise<ViewState> {
    let text = "";
    for (const op of ops) {
      this.#totals.accept(op);
      const shown = this.#store.accept(op);
      if (shown === undefined) continue;
      text += this.#textOf(shown);
      if (text.length < WRITE_UNITS) continue;
      await this.#print(text);
      text = "";
      if (this.#state === "closed") break;
    }
    if (text !== "") await this.#print(text);
    await this.tick();
    return this.#state;
  }

  /** Draws the status line anew when it is due and nothing else is being written. */
  async tick(): Promise<void> {
    const { live } = this.#options;
    if (live === undefined || this.#pendingWrites > 0) return;
    const nowMs = live.nowMs();
    if (nowMs - this.#lastDrawMs < REDRAW_MS) return;
    this.#lastDrawMs = nowMs;
    const line = statusLine(this.#store.open(STATUS_RUNS), {
      openRuns: this.#store.openRuns,
      shownRuns: this.#shownRuns,
      now: fromMillis(nowMs),
      look: this.#options.look(),
    });
    const erase = this.#statusDrawn ? ERASE : "";
    this.#statusDrawn = true;
    await this.#write(erase + line);
  }

  async #finish(events: EventTotals | undefined): Promise<ViewState> {
    const open = this.#store.open();
    for (const tree of open.toReversed()) {
      await this.#print(this.#textOf(tree));
      if (this.#state === "closed") return this.#state;
    }
    if (this.#options.format === "text") {
      const { setAside } = this.#store;
      const lines = summaryLines(
        this.#totals.summary(),
        { open: open.length, setAside, events },
        this.#options.look(),
      );
      await this.#print(this.#block(lines));
    }
    return this.#state;
  }

  #inTurn(act: () => Promise<ViewState>): Promise<ViewState> {
    const turn = this.#turn.then(act);
    this.#turn = turn;
    return turn;
  }

  #textOf(shown: Shown): string {
    const { format, ids, maxRows } = this.#options;
    if (format === "json") return `${jsonLine(shown, ids)}\n`;
    const look = this.#options.look();
    return this.#block(renderTree(shown, maxRows === undefined ? look : { ...look, maxRows }));
  }

  /** Lines with an empty one in front, but for the first block. */
  #block(lines: readonly string[]): string {
    const text = `${this.#shownRuns === 0 ? "" : "\n"}${lines.join("\n")}\n`;
    this.#shownRuns += 1;
    return text;
  }

  /** Writes whole lines where the status line stands; it comes back with the next tick that is due. */
  async #print(text: string): Promise<void> {
    const erase = this.#statusDrawn ? ERASE : "";
    this.#statusDrawn = false;
    await this.#write(erase + text);
  }

  /** One write after another, in the order of the calls. */
  async #write(text: string): Promise<void> {
    this.#pendingWrites += 1;
    this.#writing = this.#writeAfter(this.#writing, text);
    await this.#writing;
    this.#pendingWrites -= 1;
  }

  /** Never rejects. */
  async #writeAfter(previous: Promise<void>, text: string): Promise<void> {
    await previous;
    if (this.#state === "closed") return;
    try {
      await this.#options.write(text);
    } catch {
      this.#state = "closed";
    }
  }
}
