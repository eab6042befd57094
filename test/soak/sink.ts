import { startHttpBackend, type HttpAct, type OtlpServer, type Served } from "../otel/otlp-server.ts";
import { pointsOf, valuesBy, type ServedPoint } from "../bridge/served-metrics.ts";
import type { SpanBook } from "./span-book.ts";

const FATES = ["used", "dropped", "rejected"] as const;
const MOST_FAULTS = 10;

/** A backend that judges what it takes and keeps none of it, but for what metrics said last. */
export class Sink {
  /** What was seen that may never be, in metrics; the first of it. */
  readonly faults: string[] = [];
  /** What metrics said last. */
  points: readonly ServedPoint[] = [];
  /** Metrics that were read. */
  readings = 0;
  /** Requests that were not taken. */
  refused = 0;
  /** Every `service.instance.id` that metrics came under. */
  readonly instances = new Set<string>();
  readonly #book: SpanBook;
  readonly #act: () => HttpAct;
  #server: OtlpServer | undefined;

  private constructor(book: SpanBook, act: () => HttpAct) {
    this.#book = book;
    this.#act = act;
  }

  /** `act` says what becomes of a request; one whose answer is cut off has been read all the same. */
  static async start(book: SpanBook, act: () => HttpAct): Promise<Sink> {
    const sink = new Sink(book, act);
    sink.#server = await startHttpBackend((served) => sink.#answer(served));
    return sink;
  }

  get url(): string {
    return this.#server!.url;
  }

  /** Of one metric, over all of its attributes. */
  total(metric: string): number {
    return valuesBy(this.points, metric, [])[""] ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.close();
  }

  #answer(served: Served): HttpAct {
    const { requests, taken } = this.#server!;
    // The server keeps every request, for tests that are short.
    for (const kept of [requests, taken]) (kept as unknown[]).length = 0;
    const what = this.#act();
    if (what.act !== "take") this.refused += 1;
    if (what.act !== "take" && what.act !== "cut") return what;
    if (served.signal === "metrics") this.#note(served);
    for (const span of served.spans) this.#book.take(span);
    return what;
  }

  #note(served: Served): void {
    const before = this.total("behest.bridge.events.received");
    const points = pointsOf(served);
    const told = new Set(points.map(({ metric }) => metric));
    // While a state does not answer whose it is, only gauges are told, and counters are what they were.
    this.points = [...points, ...this.points.filter(({ metric }) => !told.has(metric))];
    this.readings += 1;
    const received = this.total("behest.bridge.events.received");
    const fates = FATES.reduce((sum, fate) => sum + this.total(`behest.bridge.events.${fate}`), 0);
    if (received !== fates) this.#fault(`${received} received are not ${fates} used, dropped and rejected`);
    if (received < before) this.#fault(`received fell from ${before} to ${received}`);
    const text = JSON.stringify(served.json);
    const [, instance = "none"] =
      /"service\.instance\.id","value":\{"stringValue":"([^"]*)"/.exec(text) ?? [];
    this.instances.add(instance);
  }

  #fault(fault: string): void {
    if (this.faults.length < MOST_FAULTS) this.faults.push(fault);
  }
}
