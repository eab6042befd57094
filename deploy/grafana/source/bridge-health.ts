import type { Dashboard } from "@grafana/grafana-foundation-sdk/dashboard";

import { choice, dashboard } from "./board.ts";
import { figure, lines, parts } from "./panels.ts";
import { grown, INSTANCE, quantile, rate, sum } from "./promql.ts";

const RECEIVED = `behest_bridge_events_received_total{${INSTANCE}}`;
const USED = `behest_bridge_events_used_total{${INSTANCE}}`;
const DROPPED = `behest_bridge_events_dropped_total{${INSTANCE}}`;
const REJECTED = `behest_bridge_events_rejected_total{${INSTANCE}}`;
const LOST = `behest_bridge_source_lost_total{${INSTANCE}}`;
const REDELIVERED = `behest_bridge_source_redelivered_total{${INSTANCE}}`;
const REFUSED = `behest_bridge_source_refused_total{${INSTANCE}}`;
const EXPORTED = `behest_bridge_spans_exported_total{${INSTANCE}}`;
const FAILED = `behest_bridge_spans_failed_total{${INSTANCE}}`;
const EXPORT = `behest_bridge_export_duration_seconds_bucket{${INSTANCE}}`;
const COMMIT = `behest_bridge_commit_duration_seconds_bucket{${INSTANCE}}`;

/** Does the bridge keep up, and does it lose anything. */
export function bridgeHealth(): Dashboard {
  return dashboard({
    uid: "behest-bridge-health",
    description:
      "The bridge itself: events in, spans out, what was rejected, dropped or given up, and whether it keeps up.",
    variables: [choice("instance", "Bridge", "behest_bridge_queue_spans", "instance")],
    rows: [
      { title: "In this time range", panels: figures() },
      { title: "Events in", panels: eventsIn() },
      { title: "Spans out", panels: spansOut() },
      { title: "Keeping up", panels: keepingUp() },
    ],
  });
}

function figures() {
  const lost = { base: "green", steps: [[1, "red"]] } as const;
  return [
    figure({
      id: 1,
      title: "Bridges at work",
      description:
        "Bridges and shards that committed in the last three minutes, which each of them does all the time. One that is gone is not counted, though its last values may stand here for some time.",
      unit: "short",
      width: 4,
      queries: [
        {
          expr: `count(${sum(`increase(behest_bridge_commit_duration_seconds_count{${INSTANCE}}[3m])`, ["instance"])} > 0) or vector(0)`,
          legend: "bridges",
        },
      ],
      thresholds: { base: "red", steps: [[1, "green"]] },
    }),
    figure({
      id: 2,
      title: "Events received",
      description: "Events of the time range whose fate was decided: used, dropped or rejected.",
      unit: "short",
      width: 4,
      queries: [{ expr: sum(grown(RECEIVED)), legend: "events" }],
    }),
    figure({
      id: 3,
      title: "Events rejected",
      description:
        "Input of the time range that was no event. Somebody writes what the bridge cannot read; a dead-letter file keeps it.",
      unit: "short",
      width: 4,
      queries: [{ expr: sum(grown(REJECTED)), legend: "rejected" }],
      thresholds: { base: "green", steps: [[1, "orange"]] },
    }),
    figure({
      id: 4,
      title: "Events lost",
      description:
        "Events of the time range dropped for a limit of the bridge or a fault of it, and those that a source no longer had when they were to be read. Duplicates and late events are no loss.",
      unit: "short",
      width: 4,
      queries: [
        {
          expr: `${sum(grown(`behest_bridge_events_dropped_total{reason=~"limit|faulted", ${INSTANCE}}`))} + (${sum(grown(LOST))} or vector(0))`,
          legend: "lost",
        },
      ],
      thresholds: lost,
    }),
    figure({
      id: 5,
      title: "Spans given up",
      description:
        "Spans of the time range that the backend refused, or that could not be delivered before the end. A backend that is away for a while loses none.",
      unit: "short",
      width: 4,
      queries: [{ expr: sum(grown(FAILED)), legend: "given up" }],
      thresholds: lost,
    }),
    figure({
      id: 6,
      title: "Spans waiting",
      description: "Finished spans that wait for export, over all bridges.",
      unit: "short",
      width: 4,
      queries: [{ expr: sum(`behest_bridge_queue_spans{${INSTANCE}}`), legend: "waiting" }],
    }),
  ];
}

function eventsIn() {
  return [
    parts({
      id: 7,
      title: "Events per second, by fate",
      description: "Used, dropped and rejected add up to received.",
      unit: "short",
      width: 12,
      minStep: "1m",
      queries: [
        { expr: sum(rate(USED)), legend: "used" },
        { expr: sum(rate(DROPPED)), legend: "dropped" },
        { expr: sum(rate(REJECTED)), legend: "rejected" },
      ],
      colours: { used: "green", dropped: "orange", rejected: "red" },
    }),
    lines({
      id: 8,
      title: "Events per second, by type",
      description: "Received events. Most are deltas; _OTHER is what was rejected, and unknown types.",
      unit: "short",
      width: 12,
      minStep: "1m",
      queries: [{ expr: sum(rate(RECEIVED), ["type"]), legend: "{{type}}" }],
    }),
    parts({
      id: 9,
      title: "Events rejected per minute, by code",
      description: "What was wrong with input that was no event.",
      unit: "short",
      width: 8,
      minStep: "1m",
      queries: [{ expr: `60 * ${sum(rate(REJECTED), ["code"])}`, legend: "{{code}}" }],
    }),
    parts({
      id: 10,
      title: "Events dropped per minute, by reason",
      description:
        "A log that is read at least once brings duplicate and late ones with it. limit and faulted are losses.",
      unit: "short",
      width: 8,
      minStep: "1m",
      queries: [{ expr: `60 * ${sum(rate(DROPPED), ["reason"])}`, legend: "{{reason}}" }],
      colours: { limit: "red", faulted: "red" },
    }),
    parts({
      id: 11,
      title: "Late usage per minute, by source",
      description:
        "Usage that came after its model call was handed out: it is in the metrics and not on the span.",
      unit: "short",
      width: 8,
      minStep: "1m",
      queries: [
        {
          expr: `60 * ${sum(rate(`behest_bridge_usage_late_total{${INSTANCE}}`), ["source"])}`,
          legend: "{{source}}",
        },
      ],
    }),
    parts({
      id: 20,
      title: "Requests refused per minute, by reason",
      description:
        "Requests over HTTP that were not taken. full asks senders to come again later; the others come again only when somebody mends them.",
      unit: "short",
      width: 12,
      minStep: "1m",
      queries: [{ expr: `60 * ${sum(rate(REFUSED), ["reason"])}`, legend: "{{reason}}" }],
      colours: { full: "orange" },
      nothing: "No source over HTTP",
    }),
    parts({
      id: 21,
      title: "Events lost and handed out again by sources, per minute",
      description:
        "Lost ones were trimmed, expired or deleted before the bridge came to read them. Those that are handed out again are known, and change nothing.",
      unit: "short",
      width: 12,
      minStep: "1m",
      queries: [
        { expr: `60 * ${sum(rate(LOST))}`, legend: "lost" },
        { expr: `60 * ${sum(rate(REDELIVERED))}`, legend: "handed out again" },
      ],
      colours: { lost: "red", "handed out again": "blue" },
    }),
  ];
}

function spansOut() {
  return [
    lines({
      id: 12,
      title: "Spans exported per second",
      description: "Spans that the backend took.",
      unit: "short",
      width: 8,
      minStep: "1m",
      queries: [{ expr: sum(rate(EXPORTED)), legend: "exported" }],
    }),
    parts({
      id: 13,
      title: "Spans given up per minute, by reason",
      description: "Each of these is missing in the backend; a dead-letter file keeps refused ones.",
      unit: "short",
      width: 8,
      minStep: "1m",
      queries: [{ expr: `60 * ${sum(rate(FAILED), ["reason"])}`, legend: "{{reason}}" }],
    }),
    lines({
      id: 14,
      title: "Spans waiting for export, by bridge",
      description:
        "A backend that is slow or away. When the queue is full the bridge reads no more events; it drops none.",
      unit: "short",
      width: 8,
      minStep: "1m",
      queries: [
        { expr: sum(`behest_bridge_queue_spans{${INSTANCE}}`, ["instance"]), legend: "{{instance}}" },
      ],
    }),
    lines({
      id: 15,
      title: "Export duration",
      description: "Of one export of spans, retries included: it is long when the backend was away.",
      unit: "s",
      width: 12,
      minStep: "1m",
      queries: [
        { expr: quantile(0.5, rate(EXPORT)), legend: "p50" },
        { expr: quantile(0.95, rate(EXPORT)), legend: "p95" },
        { expr: quantile(0.99, rate(EXPORT)), legend: "p99" },
      ],
    }),
    lines({
      id: 16,
      title: "Commit duration",
      description: "Of one commit: spans delivered, state saved, input acknowledged.",
      unit: "s",
      width: 12,
      minStep: "1m",
      queries: [
        { expr: quantile(0.5, rate(COMMIT)), legend: "p50" },
        { expr: quantile(0.95, rate(COMMIT)), legend: "p95" },
        { expr: quantile(0.99, rate(COMMIT)), legend: "p99" },
      ],
    }),
  ];
}

function keepingUp() {
  return [
    lines({
      id: 17,
      title: "Source lag",
      description:
        "Events in the source that were not read yet, where a source can tell. Shards read the same log each for itself, so this is the one that is furthest behind and not their sum.",
      unit: "short",
      width: 8,
      minStep: "1m",
      queries: [
        {
          expr: `max by (source) (behest_bridge_source_lag{${INSTANCE}})`,
          legend: "{{source}}",
        },
      ],
      nothing: "No source that knows its lag",
    }),
    lines({
      id: 18,
      title: "Age of the newest event read",
      description:
        "How far behind the wall clock the bridge is. It also grows while nothing happens: look at the lag beside it.",
      unit: "s",
      width: 8,
      minStep: "1m",
      queries: [
        {
          expr: `max by (source) (behest_bridge_source_age_seconds{${INSTANCE}})`,
          legend: "{{source}}",
        },
      ],
      // From there on BehestBridgeBehind looks at the lag.
      thresholds: { base: "text", steps: [[300, "orange"]] },
    }),
    lines({
      id: 19,
      title: "Events waiting for earlier ones",
      description: "Events in the reorder window, over all bridges: late ones may still come before them.",
      unit: "short",
      width: 8,
      minStep: "1m",
      queries: [{ expr: sum(`behest_bridge_events_waiting{${INSTANCE}}`), legend: "waiting" }],
    }),
    lines({
      id: 22,
      title: "Events read and not acknowledged, by source",
      description: "Taken and in no commit yet. It stays high while the backend or the state takes nothing.",
      unit: "short",
      width: 8,
      minStep: "1m",
      queries: [{ expr: sum(`behest_bridge_source_pending{${INSTANCE}}`, ["source"]), legend: "{{source}}" }],
      nothing: "No source that is acknowledged",
    }),
    lines({
      id: 23,
      title: "Runs in the state, by source",
      description: "Open ones, and closed ones that are remembered for --remember.",
      unit: "short",
      width: 8,
      minStep: "1m",
      queries: [{ expr: sum(`behest_bridge_state_runs{${INSTANCE}}`, ["source"]), legend: "{{source}}" }],
      nothing: "No state",
    }),
    lines({
      id: 24,
      title: "Size of the state, by source",
      description:
        "What it takes where it is kept. A file grows until it is written anew, to half as much again and 16 MiB; of Redis it is an estimate.",
      unit: "bytes",
      width: 8,
      minStep: "1m",
      queries: [
        { expr: sum(`behest_bridge_state_size_bytes{${INSTANCE}}`, ["source"]), legend: "{{source}}" },
      ],
      nothing: "No state whose size is known",
    }),
  ];
}
