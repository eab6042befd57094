import type { Command } from "../config/options.ts";

/** A command, as data: parsing and `--help` are made from it. */
export interface CommandText {
  readonly summary: string;
  /** What stands after the options in the usage line; empty when nothing may. */
  readonly operands: string;
  readonly minOperands: number;
  readonly maxOperands: number;
  /** Running text for `--help`. */
  readonly about: string;
  /** Lines of a terminal. */
  readonly examples: readonly string[];
}

export const COMMAND_TEXTS: Readonly<Record<Command, CommandText>> = {
  run: {
    summary: "take events as they come, and send traces and metrics over OTLP",
    operands: "",
    minOperands: 0,
    maxOperands: 0,
    about:
      "Reads the events of agent runs, one JSON object per line, and sends one trace per run and metrics " +
      "to an OTLP endpoint. Ends when its input ends, or with ctrl-C.",
    examples: [
      "my-agent | behest-otel run --agent-name support",
      "behest-otel run --from /var/log/agent/events.ndjson --follow",
    ],
  },
  replay: {
    summary: "send recorded events, with their original times",
    operands: "FILE...",
    minOperands: 1,
    maxOperands: Number.POSITIVE_INFINITY,
    about:
      "Sends recorded events as traces with their original times. The ids are made from the events, so " +
      "that sending a file twice does no harm. Several files are read one after another as one stream; - " +
      "is standard input.",
    examples: [
      "behest-otel replay 2026-11-20.ndjson 2026-11-21.ndjson",
      "zcat events.ndjson.gz | behest-otel replay -",
    ],
  },
  view: {
    summary: "show runs as trees in the terminal; sends nothing",
    operands: "FILE...",
    minOperands: 1,
    maxOperands: Number.POSITIVE_INFINITY,
    about:
      "Shows every run with its model calls and tool executions. Needs no backend and sends nothing. - is " +
      "standard input.",
    examples: ["behest-otel view events.ndjson", "behest-otel view --json events.ndjson | jq .outcome"],
  },
  traceparent: {
    summary: "print the traceparent of a run, a model call or a tool execution",
    operands: "RUN_ID",
    minOperands: 1,
    maxOperands: 1,
    about:
      "Prints the W3C traceparent that a span of a run has or will have, so that another process can hang " +
      "its own spans under it before that span exists.",
    examples: [
      "behest-otel traceparent 0199c2f4-7c1e-7d3a-9b59-3f1f0a6f7e11",
      "behest-otel traceparent 0199c2f4-7c1e-7d3a-9b59-3f1f0a6f7e11 --tool call_1",
    ],
  },
  state: {
    summary: "say what a state directory holds, or set it aside",
    operands: "inspect|reset",
    minOperands: 1,
    maxOperands: 1,
    about:
      "inspect says what a state directory holds of each source, and changes nothing. reset moves the state of every " +
      "source aside, so that the next process counts anew; events in the journals stay, and are delivered then. A " +
      "process that runs on the directory is replaced and ends.",
    examples: [
      "behest-otel state inspect --state-dir /var/lib/behest-otel",
      "behest-otel state reset --state-dir /var/lib/behest-otel",
    ],
  },
};
