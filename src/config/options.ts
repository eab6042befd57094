import { captureOf } from "./capture.ts";
import { LOG_FORMATS, LOG_LEVELS } from "../log.ts";
import {
  address,
  choice,
  count,
  directory,
  duration,
  name,
  path,
  pattern,
  provider,
  shard,
  size,
  source,
  type Kind,
} from "./kinds.ts";

export const COMMANDS = ["run", "replay", "view", "traceparent", "state"] as const;
export type Command = (typeof COMMANDS)[number];

/** Headings under which `--help` and the documentation show the options. */
export const GROUPS = ["Input", "Runs", "Content", "Delivery", "Output", "Program"] as const;

/** One option, as data: parsing, `--help`, and the documentation are made from it. */
export interface Option {
  /** After two dashes on the command line; the key in the configuration file. */
  readonly name: string;
  readonly group: (typeof GROUPS)[number];
  readonly commands: readonly Command[];
  /** Whole sentences, read by people in a terminal and on a page. */
  readonly help: string;
  /** A flag is there or not, a list may be given several times. */
  readonly shape: "flag" | "one" | "list";
  /** Absent for flags. */
  readonly kind?: Kind<unknown>;
  /** As it would be written; absent when there is none. */
  readonly default?: string | readonly string[];
  /** What holds when nothing is given and that is not one value. */
  readonly defaultNote?: string;
  /** Not settable by environment or file: it says something about this one call. */
  readonly perCall?: true;
  /** A standard variable that says the same in words of its own; undefined for an unknown word. */
  readonly standard?: { readonly env: string; readonly read: (text: string) => string | undefined };
}

const BRIDGE = ["run", "replay"] as const;
const READERS = ["run", "replay", "view"] as const;

/** Every option of the program, by the name its value has in a `Config`. */
export const OPTIONS = {
  from: {
    name: "from",
    group: "Input",
    commands: ["run"],
    help:
      "Where events come from: - for standard input, a file, http://127.0.0.1:4320/v1/events to listen there for events " +
      "that are posted, redis://HOST?stream=KEY, or nats://HOST?stream=NAME. May be given several times.",
    shape: "list",
    kind: source,
    default: ["-"],
  },
  follow: {
    name: "follow",
    group: "Input",
    commands: ["run"],
    help: "Wait for more at the end of a file, also when it is rotated, truncated or not there yet.",
    shape: "flag",
  },
  insecureListen: {
    name: "insecure-listen",
    group: "Input",
    commands: ["run"],
    help:
      "Listen for events beyond this machine without a token, so that whoever reaches the address may send some. A " +
      "token stands in a file, http://0.0.0.0:4320/v1/events?token-file=FILE, or in BEHEST_OTEL_HTTP_TOKEN.",
    shape: "flag",
  },
  shard: {
    name: "shard",
    group: "Input",
    commands: ["run"],
    help:
      "Take only the runs that fall to this one of N processes, as in 0/2 and 1/2. Each reads everything, with a " +
      "consumer group or durable of its own.",
    shape: "one",
    kind: shard,
  },
  agentName: {
    name: "agent-name",
    group: "Input",
    commands: READERS,
    help: "Name of the agent whose events do not say it.",
    shape: "one",
    kind: name("NAME"),
  },
  providers: {
    name: "provider",
    group: "Input",
    commands: READERS,
    help:
      "What a provider id of the application stands for, as in my-gateway=openai. Add ,input-excludes-cache when its " +
      "input tokens leave out cached ones. May be given several times.",
    shape: "list",
    kind: provider,
  },
  reorderWindowMs: {
    name: "reorder-window",
    group: "Input",
    commands: READERS,
    help: "How long an event waits for others that belong before it.",
    shape: "one",
    kind: duration({ min: 0, max: 600_000 }),
    defaultNote: "0 for standard input and files, which keep their order; else 2s",
  },
  runIdleTimeoutMs: {
    name: "run-idle-timeout",
    group: "Runs",
    commands: READERS,
    help: "A run without an event for this long is closed as expired.",
    shape: "one",
    kind: duration({ min: 1 }),
    default: "10m",
  },
  toolIdleTimeoutMs: {
    name: "tool-idle-timeout",
    group: "Runs",
    commands: READERS,
    help: "The same while one of its tools is seen to execute.",
    shape: "one",
    kind: duration({ min: 1 }),
    default: "1h",
  },
  rememberMs: {
    name: "remember",
    group: "Runs",
    commands: BRIDGE,
    help: "How long a closed run is remembered, so that a repeated or late event changes nothing.",
    shape: "one",
    kind: duration({ min: 0 }),
    default: "24h",
  },
  maxOpenRuns: {
    name: "max-open-runs",
    group: "Runs",
    commands: BRIDGE,
    help: "Runs open at once; beyond it the one that has been silent longest is closed as evicted.",
    shape: "one",
    kind: count({ min: 1, max: 10_000_000 }),
    default: "100000",
  },
  content: {
    name: "content",
    group: "Content",
    commands: BRIDGE,
    help: "Record what models and tools said: span puts messages, arguments and results on the spans, redacted.",
    shape: "one",
    kind: choice(["off", "span"]),
    default: "off",
    standard: { env: "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", read: captureOf },
  },
  errorMessages: {
    name: "error-messages",
    group: "Content",
    commands: READERS,
    help: "Record the messages of failures, redacted and at most 1 KiB of each.",
    shape: "one",
    kind: choice(["on", "off"]),
    default: "on",
  },
  redact: {
    name: "redact",
    group: "Content",
    commands: READERS,
    help:
      "A regular expression; what it matches in recorded texts, values and error messages is replaced. " +
      "May be given several times.",
    shape: "list",
    kind: pattern,
  },
  stateDir: {
    name: "state-dir",
    group: "Delivery",
    commands: ["run", "state"],
    help:
      "Keep what comes over HTTP and standard input in this directory until it is delivered, how far files were read, " +
      "and what is known of open runs, so that a restart goes on where the last process was. It has to be on a disk of " +
      "this machine.",
    shape: "one",
    kind: directory,
  },
  journalMaxBytes: {
    name: "journal-max",
    group: "Delivery",
    commands: ["run"],
    help:
      "Most bytes of events that each source keeps in --state-dir; beyond them senders are answered with 429, and the " +
      "writer of standard input waits.",
    shape: "one",
    kind: size({ min: "4MiB", max: "1024GiB" }),
    defaultNote: "1GiB",
  },
  deadLetter: {
    name: "dead-letter",
    group: "Delivery",
    commands: BRIDGE,
    help:
      "Keep every rejected event and refused span in this file, one JSON line for each; after mending, --from and " +
      "replay read its events back. It holds raw input and is readable by its owner only.",
    shape: "one",
    kind: path,
  },
  flushTimeoutMs: {
    name: "flush-timeout",
    group: "Delivery",
    commands: BRIDGE,
    help: "How long to try to deliver what is left once the input has ended.",
    shape: "one",
    kind: duration({ min: 0, max: 3_600_000 }),
    default: "60s",
  },
  commitIntervalMs: {
    name: "commit-interval",
    group: "Delivery",
    commands: BRIDGE,
    help: "How often what was delivered is written down and acknowledged, and metrics take over what it counted.",
    shape: "one",
    kind: duration({ min: 10, max: 60_000 }),
    default: "1s",
  },
  health: {
    name: "health",
    group: "Program",
    commands: ["run"],
    help: "Answer to /healthz and /readyz over HTTP on this address.",
    shape: "one",
    kind: address,
  },
  metrics: {
    name: "metrics",
    group: "Delivery",
    commands: ["replay"],
    help: "Send metrics as well as traces. Left out, counters that a live bridge already counted stay as they are.",
    shape: "flag",
  },
  report: {
    name: "report",
    group: "Delivery",
    commands: BRIDGE,
    help: "At the end, write what became of every event, run and span to this file, as JSON.",
    shape: "one",
    kind: path,
  },
  json: {
    name: "json",
    group: "Output",
    commands: ["view", "state"],
    help: "One JSON object per line for machines: one for each run, or for each source of a state.",
    shape: "flag",
  },
  color: {
    name: "color",
    group: "Output",
    commands: ["view"],
    help: "Colours: auto means in a terminal, unless NO_COLOR is set.",
    shape: "one",
    kind: choice(["auto", "always", "never"]),
    default: "auto",
  },
  width: {
    name: "width",
    group: "Output",
    commands: ["view"],
    help: "Columns to fill.",
    shape: "one",
    kind: count({ min: 40, max: 1_000 }),
    defaultNote: "the terminal's, else 100",
  },
  tool: {
    name: "tool",
    group: "Output",
    commands: ["traceparent"],
    help: "The execution of the tool call with this id, instead of the run.",
    shape: "one",
    kind: name("CALL_ID"),
    perCall: true,
  },
  model: {
    name: "model",
    group: "Output",
    commands: ["traceparent"],
    help: "The model call of this iteration, instead of the run.",
    shape: "one",
    kind: count({ min: 0, max: 4_294_967_295 }),
    perCall: true,
  },
  parent: {
    name: "parent",
    group: "Output",
    commands: ["traceparent"],
    help: "The remote parent that the run was given; its trace is then the run's.",
    shape: "one",
    kind: name("TRACEPARENT"),
    perCall: true,
  },
  logLevel: {
    name: "log-level",
    group: "Program",
    commands: READERS,
    help: "What is said on standard error.",
    shape: "one",
    kind: choice(LOG_LEVELS),
    default: "info",
  },
  logFormat: {
    name: "log-format",
    group: "Program",
    commands: READERS,
    help: "How it is said: lines for people or JSON for machines.",
    shape: "one",
    kind: choice(LOG_FORMATS),
    default: "text",
  },
  config: {
    name: "config",
    group: "Program",
    commands: [...READERS, "state"],
    help: "A YAML file of options, with lines such as agent-name: support. The command line and the environment win.",
    shape: "one",
    kind: path,
  },
} as const satisfies Record<string, Option>;

export type OptionKey = keyof typeof OPTIONS;

type ValueOf<O> = O extends { shape: "flag" }
  ? boolean
  : O extends { shape: "list"; kind: Kind<infer T> }
    ? readonly T[]
    : O extends { kind: Kind<infer T>; default: string }
      ? T
      : O extends { kind: Kind<infer T> }
        ? T | undefined
        : never;

type KeysOf<C extends Command> = {
  [K in OptionKey]: C extends (typeof OPTIONS)[K]["commands"][number] ? K : never;
}[OptionKey];

/** The options of a command, read, with defaults filled in. */
export type Config<C extends Command> = { readonly [K in KeysOf<C>]: ValueOf<(typeof OPTIONS)[K]> };

/** The environment variable of an option: `--agent-name` is `BEHEST_OTEL_AGENT_NAME`. */
export function envName(option: Option): string {
  return `BEHEST_OTEL_${option.name.replaceAll("-", "_").toUpperCase()}`;
}

export function optionsOf(command: Command): readonly Option[] {
  return ALL_OPTIONS.filter((option) => option.commands.includes(command));
}

export const ALL_OPTIONS: readonly Option[] = Object.values(OPTIONS);
