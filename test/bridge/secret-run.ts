import * as wire from "./wire-runs.ts";

/** A run of every variant whose every free text says something that can be looked for. */
export interface SecretRun {
  readonly events: readonly Record<string, unknown>[];
  /** What models and tools said: in no place with content off. */
  readonly content: readonly string[];
  /** Plain words of error messages: recorded unless error messages are off. */
  readonly errors: readonly string[];
  /** Secrets within error messages, content and names of keys: in no place ever, but as a dead letter. */
  readonly secrets: readonly string[];
}

let count = 0;
const content: string[] = [];
const errors: string[] = [];
const secrets: string[] = [];

/** Something said, found again by this word. */
function saying(): string {
  content.push(`CONTENT${++count}Q`);
  return content.at(-1)!;
}

function error(): string {
  errors.push(`ERRORTEXT${++count}Q`);
  return errors.at(-1)!;
}

function secret(): string {
  secrets.push(`s3cr3t${++count}Q`);
  return secrets.at(-1)!;
}

/** Two runs: one that ends in a failure, and one that completes. */
export function secretRun(): SecretRun {
  count = 0;
  content.length = errors.length = secrets.length = 0;
  const run = wire.teller(1);
  const events = [
    wire.started(run, { extra: saying() }),
    run.tell("ContextBuilt", { message_count: 2, prompt: saying() }),
    wire.model(run, 1, { prompt: { nested: [saying()] } }),
    wire.delta(run, `${saying()} and ${saying()}`),
    wire.delta(run, `password: ${secret()}`),
    run.tell("ToolCallStarted", { call_id: "call_1", tool_name: "search", arguments: saying() }),
    run.tell("ToolCallDelta", { call_id: "call_1", delta: `{"q":"${saying()}"}` }),
    wire.asked(run, "call_1", {
      q: saying(),
      [saying()]: [1, { deep: saying() }],
      api_key: secret(),
      url: `https://user:${secret()}@example.com/`,
    }),
    wire.usage(run, 10, 5, { note: saying() }),
    run.tell("CacheMetrics", { cache_read_input_tokens: 1, note: saying() }),
    wire.said(run),
    wire.toolStarted(run, "call_1"),
    wire.toolFinished(run, "call_1", { Success: { output: { text: saying(), token: secret() } } }),
    wire.toolSaid(run),
    wire.model(run, 2),
    wire.asked(run, "call_2", saying()),
    wire.said(run, 4),
    wire.toolStarted(run, "call_2"),
    wire.toolFinished(run, "call_2", { Failure: { error: `${error()}: Authorization: Bearer ${secret()}` } }),
    wire.toolSaid(run, 5),
    run.tell("DoomLoopDetected", { description: saying() }),
    run.tell("CompactionCircuitOpened", { consecutive_failures: 3, reason: saying() }),
    run.tell("SomethingNew", { text: saying() }),
    wire.failed(run, `provider \`openai\` returned error: ${error()} api_key=${secret()}`),
  ];
  const second = wire.teller(2, 100);
  events.push(
    wire.started(second),
    wire.model(second),
    wire.delta(second, saying()),
    wire.asked(second, "call_3", { q: saying() }),
    wire.said(second, 6),
    wire.toolStarted(second, "call_3"),
    wire.cancelled(second),
    // After the end: late, with words in it.
    wire.delta(second, saying()),
    wire.toolFinished(second, "call_9", { Success: { output: saying() } }),
  );
  return { events, content: [...content], errors: [...errors], secrets: [...secrets] };
}

/** Lines that are no events, with words in them. */
export function secretGarbage(): { readonly lines: readonly string[]; readonly words: readonly string[] } {
  const run = wire.teller(3, 200);
  const word = (n: number) => `GARBAGE${n}Q`;
  let deep: unknown = word(7);
  for (let level = 0; level < 200; level += 1) deep = [deep];
  const lines = [
    `{"TextDelta":{"run_id":"${run.runId}","delta":"${word(1)}`,
    JSON.stringify(run.tell("TextDelta", { delta: { text: word(2) } })),
    JSON.stringify(run.tell("TextDelta", { delta: [word(3)] })),
    JSON.stringify(
      run.tell("ToolExecutionFinished", {
        call_id: "c",
        tool_name: "t",
        duration_ms: 1,
        result: { Neither: word(4) },
      }),
    ),
    JSON.stringify({ TextDelta: { run_id: run.runId, delta: word(5) } }),
    `${word(6)} is not JSON`,
    JSON.stringify(wire.asked(run, "call_1", deep)),
    JSON.stringify(run.tell("TextDelta", { delta: word(8) + "x".repeat(1_100_000) })),
    JSON.stringify({
      ...run.tell("TextDelta", { delta: word(9) }),
      ...run.tell("RunFailed", { error: word(9) }),
    }),
    JSON.stringify(run.tell("RunFailed", { error: { message: word(10) } })),
    JSON.stringify(run.tell("DoomLoopDetected", { description: 1, text: word(11) })),
  ];
  return { lines, words: Array.from({ length: 11 }, (_, n) => word(n + 1)) };
}
