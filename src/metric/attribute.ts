/** Every attribute a metric can carry. None of them tells one run, session, message or call from another. */
export const ATTRIBUTES = {
  "behest.run.outcome":
    "How the segment of the run ended: `completed`, `failed`, `cancelled` or `incomplete`",
  "behest.run.resumed": "`true` on a segment after a run's first; absent otherwise",
  "behest.span.inferred": "`true` where the runtime did not report the execution itself; absent otherwise",
  code: "Why the input was no event, such as `BEHEST_DECODE_JSON`",
  "error.type": "Class of the failure, such as `token_budget_exceeded`; `_OTHER` for what has no class",
  "gen_ai.agent.name": "Name of the agent; absent when none is known",
  "gen_ai.operation.name": "`chat`",
  "gen_ai.provider.name": "Provider of the model, such as `anthropic`",
  "gen_ai.request.model": "Model that was asked",
  "gen_ai.token.modality": "`unknown`: the runtime does not say",
  "gen_ai.token.type":
    "`input`, `output`; on `behest.token.usage` also `cache_read` and `cache_write`, both part of `input`",
  "gen_ai.tool.name": "Name of the tool",
  "gen_ai.tool.type": "`function`",
  reason: "Why an event changed nothing, a span was given up, or a request refused",
  source: "Where the events come from",
  type: "Type of the event, such as `TextDelta`; `_OTHER` for rejected input and for types that are not known",
} as const;

export type AttributeKey = keyof typeof ATTRIBUTES;
export type AttributeUse = readonly [key: AttributeKey, level: Level];

/** When an attribute is on a data point. */
export type Level = "always" | "when known" | "on failure" | "when true";
