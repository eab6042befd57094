import { spawn, type ChildProcess } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { afterAll } from "vitest";

import { truthOf } from "../bridge/raw-truth.ts";
import { pointsOf, valuesBy, type ServedPoint } from "../bridge/served-metrics.ts";
import { BIN, Started } from "../cli/program.ts";
import { startHttpBackend, take, type HttpAct, type OtlpServer, type Served } from "../otel/otlp-server.ts";
import type { Appended, Play } from "./producer.ts";
import { Cable } from "./redis-server.ts";

/** A broker with one stream of events, which lives through its own death. */
export interface Broker extends AsyncDisposable {
  /** What `--from` is given to read it as this group. */
  readonly from: (group: string) => string;
  /** Resolves when all are appended, in this order. */
  readonly publish: (lines: readonly string[]) => Promise<unknown>;
  /** Kills it and starts it again with what it had on disk. */
  readonly restart: () => Promise<void>;
  /** All that was ever appended. */
  readonly log: () => Promise<readonly Appended[]>;
  /** What this group, of this shard, was not handed or has not acknowledged. */
  readonly left: (group: string, shard?: number) => Promise<number>;
}

const children = new Set<ChildProcess>();
let copied: string | undefined;

/** Nothing that a file of tests began outlives it. */
function cleanUp(): void {
  for (const child of children) child.kill("SIGKILL");
  if (copied !== undefined) rmSync(copied, { recursive: true, force: true });
  copied = undefined;
}
process.on("exit", cleanUp);
afterAll(cleanUp);

/** The built program in a place of its own: a build meanwhile takes nothing away from a life that begins. */
function programCopy(): string {
  if (copied === undefined) {
    copied = mkdtempSync(join(tmpdir(), "behest-otel-crash-"));
    cpSync(dirname(BIN), join(copied, "dist"), { recursive: true });
    writeFileSync(join(copied, "package.json"), '{"type":"module"}\n');
  }
  return join(copied, "dist/bin.js");
}

export interface Bridge {
  readonly from: string;
  /** Of the backend. */
  readonly otlp: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts the built program on a log. Metrics go out often, so that many lives get to that. */
export function startBridge({ from, otlp, args = [], env = {} }: Bridge): Started {
  const { PATH = "" } = process.env;
  const child = spawn(process.execPath, [programCopy(), "run", "--from", from, ...args], {
    env: { PATH, OTEL_EXPORTER_OTLP_ENDPOINT: otlp, OTEL_METRIC_EXPORT_INTERVAL: "300", ...env },
  });
  children.add(child);
  child.once("exit", () => children.delete(child));
  return new Started(child);
}

export type Weather = "fine" | "unavailable" | "cutting";

/** Where the connection of who sends is cut. */
type Cut = "half a request" | "lost request" | "hang up" | "half an answer" | "lost answer";

/** A backend that believes nothing: what comes twice has to be the same, and no counter may fall. */
export class Backend {
  /** What was seen that may never be. */
  readonly faults: string[] = [];
  /** Each span that was taken, by its id, as text without its resource. */
  readonly spans = new Map<string, string>();
  /** Spans that came again. */
  twins = 0;
  /** Metrics that were taken. */
  readings = 0;
  /** Requests of traces that came, taken or not. */
  asked = 0;
  /** Requests answered with 503. */
  unavailable = 0;
  /** How often each was done to a sender. */
  readonly cuts: Record<Cut, number> = {
    "half a request": 0,
    "lost request": 0,
    "hang up": 0,
    "half an answer": 0,
    "lost answer": 0,
  };
  /** By `behest.run.outcome`. */
  readonly outcomes: Record<string, number> = {};
  weather: () => Weather = () => "fine";
  #server: OtlpServer | undefined;
  #cable: Cable | undefined;
  readonly #whole = new Map<string, string>();
  /** By `service.instance.id`. */
  readonly #last = new Map<string, readonly ServedPoint[]>();
  readonly #gauges = new Set<string>();
  readonly #random: () => number;

  private constructor(random: () => number) {
    this.#random = random;
  }

  static async start(random: () => number): Promise<Backend> {
    const backend = new Backend(random);
    const server = await startHttpBackend((served) => backend.#act(served));
    backend.#server = server;
    const cable = await Cable.to(Number(new URL(server.url).port));
    cable.fate = () => backend.#fate();
    backend.#cable = cable;
    return backend;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#cable!.port}`;
  }

  get instances(): readonly string[] {
    return [...this.#last.keys()];
  }

  /** What every instance said last, together. */
  get points(): readonly ServedPoint[] {
    return [...this.#last.values()].flat();
  }

  /** Points of counters and histograms, which only ever go up. */
  get counted(): readonly ServedPoint[] {
    return this.points.filter(({ metric }) => !this.#gauges.has(metric));
  }

  total(metric: string): number {
    return valuesBy(this.points, metric, [])[""] ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cable?.[Symbol.asyncDispose]();
    await this.#server?.close();
  }

  #act(served: Served): HttpAct {
    if (served.signal === "traces") this.asked += 1;
    switch (this.weather()) {
      case "unavailable":
        this.unavailable += 1;
        return { act: "answer", status: 503 };
      case "cutting":
        if (this.#cuts("half an answer")) return { act: "cut" };
        if (this.#cuts("hang up")) return { act: "hang up" };
        break;
      case "fine":
    }
    this.#note(served);
    return take;
  }

  #fate(): "pass" | "lose" | "lose half" | "lose answer" {
    if (this.weather() !== "cutting") return "pass";
    if (this.#cuts("half a request")) return "lose half";
    if (this.#cuts("lost request")) return "lose";
    return this.#cuts("lost answer") ? "lose answer" : "pass";
  }

  /** One in fifteen, and certainly the first: however few requests come, each is met. */
  #cuts(cut: Cut): boolean {
    const happens = this.cuts[cut] === 0 || this.#random() < 1 / 15;
    if (happens) this.cuts[cut] += 1;
    return happens;
  }

  #note({ signal, spans, ...served }: Served): void {
    if (signal === "metrics") this.#noteMetrics({ signal, spans, ...served });
    for (const span of spans) {
      const text = JSON.stringify(span);
      const known = this.#whole.get(span.spanId);
      if (known === undefined) {
        this.#whole.set(span.spanId, text);
        this.spans.set(span.spanId, JSON.stringify({ ...span, resource: undefined }));
        const outcome = new Map(span.attributes).get("behest.run.outcome");
        if (typeof outcome === "string") this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1;
      } else {
        this.twins += 1;
        if (known !== text) this.faults.push(`a span came twice and differs: ${known} and ${text}`);
      }
    }
  }

  #noteMetrics(served: Served): void {
    this.readings += 1;
    const points = pointsOf(served);
    const instance = instanceOf(served);
    for (const name of gaugesIn(served)) this.#gauges.add(name);
    const isCounted = ({ metric }: ServedPoint) => !this.#gauges.has(metric);
    const counted = (this.#last.get(instance) ?? []).filter(isCounted);
    // Of a process that cannot find out whose its state is only gauges come, and its counters stand.
    if (!points.some(isCounted)) return void this.#last.set(instance, [...points, ...counted]);
    const now = countersOf(points.filter(isCounted));
    const before = countersOf(counted);
    for (const [key, { count, sum }] of before) {
      const next = now.get(key);
      if (next !== undefined && next.count >= count && (sum ?? 0) <= (next.sum ?? 0)) continue;
      this.faults.push(`${instance}: ${key} fell from ${count} to ${next?.count ?? "nothing"}`);
    }
    const [received = 0, ...fates] = ["received", "used", "dropped", "rejected"].map(
      (fate) => valuesBy(points, `behest.bridge.events.${fate}`, [])[""] ?? 0,
    );
    if (received !== fates.reduce((sum, one) => sum + one, 0)) {
      this.faults.push(`received ${received} are not used, dropped and rejected ${fates.join(" + ")}`);
    }
    this.#last.set(instance, points);
  }
}

interface Counted {
  readonly count: number;
  readonly sum: number | undefined;
  readonly buckets: readonly number[] | undefined;
}

/** By metric and attributes, added up over instances. */
function countersOf(points: readonly ServedPoint[]): ReadonlyMap<string, Counted> {
  const counters = new Map<string, Counted>();
  for (const { metric, attributes, value, count, sum, buckets } of points) {
    const key = `${metric} ${JSON.stringify(Object.entries(attributes))}`;
    const known = counters.get(key);
    counters.set(key, {
      count: (known?.count ?? 0) + (value ?? count ?? 0),
      sum: sum === undefined ? undefined : (known?.sum ?? 0) + sum,
      buckets: buckets?.map((one, index) => one + (known?.buckets?.[index] ?? 0)),
    });
  }
  return counters;
}

/** Counts of how a bridge fared: how long it took, and what it was handed again. */
const OWN_COUNTS = /^behest\.bridge\.((export|commit)\.duration|source\.redelivered) /;

/** What the log decides, with what is 0 left out. */
export function decidedBy(points: readonly ServedPoint[]): Record<string, Counted> {
  const all = [...countersOf(points)].filter(([key, { count }]) => count !== 0 && !OWN_COUNTS.test(key));
  // Whole nanoseconds: sums of fractions depend on the order of adding in their last digits.
  const rounded = all.map(([key, { sum, ...counted }]) => [
    key.replace(/\["source","[^"]*"\]/, ""),
    { ...counted, sum: sum === undefined ? undefined : Math.round(sum * 1e9) },
  ]);
  return Object.fromEntries(rounded) as Record<string, Counted>;
}

/** The counters that events alone decide, from the events alone. */
export function truthIn({ events }: Play, log: readonly Appended[]): Record<string, unknown> {
  const known = new Set(events);
  const truth = truthOf(events);
  const found = log.filter(({ line }) => known.has(line));
  const { incomplete, failed } = truth.runs;
  return {
    received: log.length,
    used: truth.byType,
    dropped: nonZero({ duplicate: found.length - events.length }),
    rejected: nonZero({ BEHEST_DECODE_JSON: log.length - found.length }),
    runs: nonZero(truth.runs),
    failures: failed + incomplete,
    expired: incomplete,
    tokens: nonZero(truth.tokens),
    measured: truth.endedRuns,
    gaps: truth.chunkGaps,
    lateUsage: 0,
    exported: truth.spans.length,
    refused: {},
    active: 0,
  };
}

/** The same of what was counted. */
export function countedIn(points: readonly ServedPoint[]): Record<string, unknown> {
  const by = (metric: string, ...keys: string[]) => valuesBy(points, `behest.${metric}`, keys);
  const total = (metric: string) =>
    valuesBy(points, metric, [], ({ value, count }) => value ?? count)[""] ?? 0;
  return {
    received: total("behest.bridge.events.received"),
    used: by("bridge.events.used", "type"),
    dropped: by("bridge.events.dropped", "reason"),
    rejected: by("bridge.events.rejected", "code"),
    runs: by("run.ended", "behest.run.outcome"),
    failures: total("behest.run.failures"),
    expired: by("run.failures", "error.type")["run_expired"] ?? 0,
    tokens: by("token.usage", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.token.type"),
    measured: total("gen_ai.invoke_agent.duration"),
    gaps: total("gen_ai.client.operation.time_per_output_chunk"),
    lateUsage: total("behest.bridge.usage.late"),
    exported: total("behest.bridge.spans.exported"),
    refused: by("bridge.spans.failed", "reason"),
    active: total("behest.run.active"),
  };
}

/** Each span as its events say, by its id. */
export function outlinesIn({ events }: Play): Record<string, object> {
  return Object.fromEntries(truthOf(events).spans.map((span) => [span.spanId, span]));
}

/** The same of what came. */
export function outlinesOf(spans: ReadonlyMap<string, string>): Record<string, object> {
  const outlines = [...spans].map(([id, text]) => {
    const { traceId, spanId, parentSpanId, name, start, end } = JSON.parse(text) as Record<string, string>;
    return [id, { traceId, spanId, parentSpanId, name, start, end }];
  });
  return Object.fromEntries(outlines) as Record<string, object>;
}

interface ServedMetrics {
  readonly resource: { readonly attributes: readonly { readonly key: string; readonly value: object }[] };
  readonly scopeMetrics: readonly {
    readonly metrics: readonly { readonly name: string; gauge?: object }[];
  }[];
}

/** The one resource of a request. */
function metricsIn({ json }: Served): ServedMetrics {
  const [only] = json["resourceMetrics"] as [ServedMetrics];
  return only;
}

function instanceOf(served: Served): string {
  const { attributes } = metricsIn(served).resource;
  return JSON.stringify(attributes.find(({ key }) => key === "service.instance.id")?.value);
}

function gaugesIn(served: Served): readonly string[] {
  const metrics = metricsIn(served).scopeMetrics.flatMap((scope) => scope.metrics);
  return metrics.filter(({ gauge }) => gauge !== undefined).map(({ name }) => name);
}

export function nonZero(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0));
}
