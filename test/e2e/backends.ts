import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import type { TrueSpan } from "../bridge/raw-truth.ts";

/** A span as a backend has it, in one form for what was sent and for what is read back; defaults are there. */
export interface StoredSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number;
  /** Nanoseconds since 1970, decimal. */
  readonly start: string;
  readonly end: string;
  /** Whole numbers are bigints, so that 1 is not 1.0. Jaeger sorts them: their order says nothing. */
  readonly attributes: Values;
  readonly status: { readonly code: number; readonly message: string };
  readonly events: readonly { readonly name: string; readonly time: string; readonly attributes: Values }[];
  readonly links: readonly {
    readonly traceId: string;
    readonly spanId: string;
    readonly attributes: Values;
  }[];
  readonly resource: Values;
  readonly scope: { readonly name: string; readonly version: string };
}

type Values = Readonly<Record<string, unknown>>;
type Json = Readonly<Record<string, unknown>>;

/** The spans of a request or an answer in the form of OTLP/JSON. */
export function spansOf(json: Json): StoredSpan[] {
  return list(json["resourceSpans"]).flatMap(({ resource, scopeSpans }) =>
    list(scopeSpans).flatMap(({ scope, spans }) =>
      list(spans).map((span) => ({
        ...spanOf(span),
        resource: valuesOf((resource as Json)["attributes"]),
        scope: { name: text((scope as Json)["name"]), version: text((scope as Json)["version"]) },
      })),
    ),
  );
}

/** What raw-truth.ts says of a span too. */
export function outlineOf(span: StoredSpan): TrueSpan {
  const { traceId, spanId, parentSpanId, name, start, end } = span;
  return { traceId, spanId, parentSpanId, name, start, end };
}

/** In an order that says nothing, so that two lists can be compared. */
export function byId<T extends { readonly spanId: string }>(spans: readonly T[]): T[] {
  return spans.toSorted((a, b) => (a.spanId < b.spanId ? -1 : 1));
}

/** The spans of one trace as Jaeger's API tells them (v3, which is OTLP); none when it does not know it. */
export async function storedSpans(jaegerUrl: string, traceId: string): Promise<StoredSpan[]> {
  const response = await fetch(`${jaegerUrl}/api/v3/traces/${traceId}`);
  if (response.status === 404) return [];
  const { result } = (await answerOf(response)) as { readonly result: Json };
  return spansOf(result);
}

/** A trace as Jaeger's page gets it. */
export interface PageTrace {
  readonly traceID: string;
  readonly spans: readonly PageSpan[];
  readonly processes: Readonly<Record<string, { readonly serviceName: string }>>;
  readonly warnings: readonly string[] | null;
}

export interface PageSpan {
  readonly spanID: string;
  readonly operationName: string;
  readonly references: readonly {
    readonly refType: string;
    readonly traceID: string;
    readonly spanID: string;
  }[];
  /** Microseconds. */
  readonly startTime: number;
  readonly duration: number;
  readonly tags: readonly { readonly key: string; readonly type: string; readonly value: unknown }[];
  readonly logs: readonly {
    readonly timestamp: number;
    readonly fields: readonly { readonly key: string; readonly value: unknown }[];
  }[];
  readonly warnings: readonly string[] | null;
}

/** One trace, as the page asks for it. */
export async function pageTrace(jaegerUrl: string, traceId: string): Promise<PageTrace> {
  const answer = await answerOf(await fetch(`${jaegerUrl}/api/traces/${traceId}`));
  const [trace] = (answer as { readonly data: readonly PageTrace[] }).data;
  if (trace === undefined) throw new Error(`Jaeger has no trace ${traceId}`);
  return trace;
}

/**
 * The id of every span of a trace as it was stored, one that came twice included; none when there is no such trace.
 * What polls has to ask this way: Jaeger's memory store (2.13) keeps the warnings of everybody who looked at a trace
 * before it was whole.
 */
export async function storedIds(jaegerUrl: string, traceId: string): Promise<string[]> {
  const response = await fetch(`${jaegerUrl}/api/traces/${traceId}?raw=true`);
  if (response.status === 404) return [];
  const { data } = (await answerOf(response)) as { readonly data: readonly PageTrace[] };
  return data.flatMap(({ spans }) => spans.map(({ spanID }) => spanID));
}

/** The ids of the traces that a search of Jaeger's page finds. */
export async function foundTraces(jaegerUrl: string, search: URLSearchParams): Promise<string[]> {
  const answer = await answerOf(await fetch(`${jaegerUrl}/api/traces?${search.toString()}`));
  return (answer as { readonly data: readonly PageTrace[] }).data.map(({ traceID }) => traceID);
}

/** What Jaeger's Monitor tab asks for: the number of calls per second, by operation. */
export async function monitoredCalls(
  jaegerUrl: string,
  service: string,
): Promise<Readonly<Record<string, number>>> {
  const search = new URLSearchParams({ service, groupByOperation: "true", endTs: String(Date.now()) });
  for (const kind of ["internal", "client"]) search.append("spanKind", kind);
  // The last five minutes, a point a second, rates over one minute.
  for (const [key, ms] of Object.entries({ lookback: 300_000, step: 1_000, ratePer: 60_000 })) {
    search.set(key, String(ms));
  }
  const answer = await answerOf(await fetch(`${jaegerUrl}/api/metrics/calls?${search.toString()}`));
  const { metrics = [] } = answer as {
    readonly metrics?: readonly {
      readonly labels: readonly { readonly name: string; readonly value: string }[];
      readonly metricPoints: readonly { readonly gaugeValue: { readonly doubleValue: number } }[];
    }[];
  };
  return Object.fromEntries(
    metrics.map(({ labels, metricPoints }) => [
      labels.find(({ name }) => name === "operation")?.value ?? "",
      Math.max(...metricPoints.map(({ gaugeValue }) => gaugeValue.doubleValue)),
    ]),
  );
}

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The result of an instant query. */
export async function samples(prometheusUrl: string, query: string): Promise<Sample[]> {
  const body = new URLSearchParams({ query });
  const answer = await answerOf(await fetch(`${prometheusUrl}/api/v1/query`, { method: "POST", body }));
  const { data } = answer as {
    readonly data: {
      readonly result: readonly {
        readonly metric: Sample["labels"];
        readonly value: readonly [number, string];
      }[];
    };
  };
  return data.result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
}

/** The values of a query by the values of some labels, parted by spaces; what is 0 is left out. */
export async function valuesBy(
  prometheusUrl: string,
  query: string,
  labels: readonly string[],
): Promise<Record<string, number>> {
  const found = await samples(prometheusUrl, `sum by (${labels.join(", ")}) (${query}) != 0`);
  return Object.fromEntries(
    found.map((sample) => [labels.map((label) => sample.labels[label] ?? "").join(" "), sample.value]),
  );
}

/** What Prometheus says of its rules: those that it could not evaluate, with the reason. */
export async function ruleFaults(prometheusUrl: string): Promise<string[]> {
  const answer = await answerOf(await fetch(`${prometheusUrl}/api/v1/rules`));
  const { groups } = (
    answer as {
      readonly data: {
        readonly groups: readonly {
          readonly rules: readonly {
            readonly name: string;
            readonly health: string;
            readonly lastError?: string;
          }[];
        }[];
      };
    }
  ).data;
  const rules = groups.flatMap((group) => group.rules);
  if (rules.length === 0) throw new Error("Prometheus has no rules");
  return rules
    .filter(({ health }) => health !== "ok")
    .map(({ name, health, lastError = "" }) => `${name}: ${health} ${lastError}`);
}

/** An alert as Alertmanager's webhook tells of it. */
export interface Notice {
  readonly status: "firing" | "resolved";
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Webhook {
  readonly url: string;
  /** All that was told, in the order it came. */
  readonly notices: readonly Notice[];
  readonly close: () => Promise<void>;
}

/** Somebody who is paged: takes every notification. */
export async function startWebhook(): Promise<Webhook> {
  const notices: Notice[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { alerts } = JSON.parse(Buffer.concat(chunks).toString()) as {
        readonly alerts: readonly Notice[];
      };
      notices.push(...alerts.map(({ status, labels, annotations }) => ({ status, labels, annotations })));
      response.writeHead(200).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/alerts`,
    notices,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function spanOf(span: Json): Omit<StoredSpan, "resource" | "scope"> {
  const { code = 0, message = "" } = (span["status"] ?? {}) as { code?: number; message?: string };
  return {
    traceId: text(span["traceId"]),
    spanId: text(span["spanId"]),
    parentSpanId: text(span["parentSpanId"]),
    name: text(span["name"]),
    kind: Number(span["kind"] ?? 0),
    start: text(span["startTimeUnixNano"]),
    end: text(span["endTimeUnixNano"]),
    attributes: valuesOf(span["attributes"]),
    status: { code, message },
    events: list(span["events"]).map(({ name, timeUnixNano, attributes }) => ({
      name: text(name),
      time: text(timeUnixNano),
      attributes: valuesOf(attributes),
    })),
    links: list(span["links"]).map(({ traceId, spanId, attributes }) => ({
      traceId: text(traceId),
      spanId: text(spanId),
      attributes: valuesOf(attributes),
    })),
  };
}

function valuesOf(attributes: unknown): Values {
  return Object.fromEntries(list(attributes).map(({ key, value }) => [text(key), valueOf(value as Json)]));
}

function valueOf(value: Json): unknown {
  const { intValue, arrayValue } = value;
  if (intValue !== undefined) return BigInt(intValue as string);
  if (arrayValue !== undefined) return list((arrayValue as Json)["values"]).map(valueOf);
  return value["stringValue"] ?? value["boolValue"] ?? value["doubleValue"];
}

/** The JSON of an answer; rejects with what it says when it is none of success. */
export async function answerOf(response: Response): Promise<unknown> {
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${await response.text()}`);
  return response.json();
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function list(value: unknown): readonly Json[] {
  return (value ?? []) as readonly Json[];
}
