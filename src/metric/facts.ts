import { AGENT_SECONDS, CALLS, OPERATION_SECONDS, TOKENS } from "./bounds.ts";

/**
 * What a ledger keeps. Each fact is kept once; the metrics of `table.ts` are views of these facts
 * under one name or another, so that another mode
 * loses nothing and two modes at once cost nothing.
 *
 * The labels of a fact are the attribute keys its metrics carry, in the order they are saved in.
 */
export const FACTS = {
  used: tally("type"),
  dropped: tally("type", "reason"),
  rejected: tally("code"),
  runsEnded: tally("behest.run.outcome", "gen_ai.agent.name", "behest.run.resumed"),
  runFailures: tally("error.type", "gen_ai.agent.name"),
  runsActive: tally("gen_ai.agent.name"),
  doomLoops: tally("gen_ai.agent.name"),
  compactionCircuits: tally("gen_ai.agent.name"),
  tokens: tally("gen_ai.token.type", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.agent.name"),
  lateUsage: tally("source"),
  redelivered: tally("source"),
  lost: tally("source"),
  refused: tally("source", "reason"),
  spansExported: tally(),
  spansFailed: tally("reason"),

  oldestActiveAge: reading(),
  eventsWaiting: reading(),
  queueSpans: reading(),
  sourceLag: reading("source"),
  sourceAge: reading("source"),
  sourcePending: reading("source"),
  stateRuns: reading("source"),
  stateSize: reading("source"),

  inputTokens: distribution(TOKENS, "gen_ai.provider.name", "gen_ai.request.model"),
  outputTokens: distribution(TOKENS, "gen_ai.provider.name", "gen_ai.request.model"),
  modelDuration: distribution(
    OPERATION_SECONDS,
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "error.type",
  ),
  firstChunk: distribution(OPERATION_SECONDS, "gen_ai.provider.name", "gen_ai.request.model"),
  perChunk: distribution(OPERATION_SECONDS, "gen_ai.provider.name", "gen_ai.request.model"),
  agentDuration: distribution(AGENT_SECONDS, "gen_ai.agent.name", "error.type"),
  inferenceCalls: distribution(CALLS, "gen_ai.agent.name"),
  toolCalls: distribution(CALLS, "gen_ai.agent.name"),
  toolDuration: distribution(
    OPERATION_SECONDS,
    "gen_ai.tool.name",
    "gen_ai.agent.name",
    "error.type",
    "behest.span.inferred",
  ),
  exportDuration: distribution(OPERATION_SECONDS),
  commitDuration: distribution(OPERATION_SECONDS),
} as const satisfies Readonly<Record<string, Fact>>;

export type Fact = TallyFact | ReadingFact | DistributionFact;
export type FactName = keyof typeof FACTS;

/** A number that is part of the state: counts, and the levels that the ops themselves move up and down. */
interface TallyFact {
  readonly kind: "tally";
  readonly labels: readonly LabelKey[];
}

/** A number that somebody else reads off and hands in; never saved. */
interface ReadingFact {
  readonly kind: "reading";
  readonly labels: readonly LabelKey[];
}

/** A histogram; its bounds are inclusive upper ones, as OTLP's are. */
interface DistributionFact {
  readonly kind: "distribution";
  readonly labels: readonly LabelKey[];
  readonly bounds: readonly number[];
}

export type TallyName = NamesOf<"tally">;
export type ReadingName = NamesOf<"reading">;
export type DistributionName = NamesOf<"distribution">;
type NamesOf<Kind> = {
  [Name in FactName]: (typeof FACTS)[Name]["kind"] extends Kind ? Name : never;
}[FactName];

export type LabelKey =
  | "behest.run.outcome"
  | "behest.run.resumed"
  | "behest.span.inferred"
  | "code"
  | "error.type"
  | "gen_ai.agent.name"
  | "gen_ai.provider.name"
  | "gen_ai.request.model"
  | "gen_ai.token.type"
  | "gen_ai.tool.name"
  | "reason"
  | "source"
  | "type";

export const TALLIES = namesOf("tally") as readonly TallyName[];
export const DISTRIBUTIONS = namesOf("distribution") as readonly DistributionName[];

function namesOf(kind: Fact["kind"]): readonly FactName[] {
  return (Object.keys(FACTS) as FactName[]).filter((name) => FACTS[name].kind === kind);
}

function tally(...labels: readonly LabelKey[]): TallyFact {
  return { kind: "tally", labels };
}

function reading(...labels: readonly LabelKey[]): ReadingFact {
  return { kind: "reading", labels };
}

function distribution(bounds: readonly number[], ...labels: readonly LabelKey[]): DistributionFact {
  return { kind: "distribution", labels, bounds };
}
