/** The runtime's words for why a model stopped, in the conventions' words. */
const REASONS: ReadonlyMap<string, string> = new Map([
  ["stop", "stop"],
  ["tool_calls", "tool_call"],
  ["length", "length"],
  ["content_filter", "content_filter"],
  ["error", "error"],
]);

/** The conventions' word for a finish reason of the runtime; undefined when they have none. */
export function finishReasonOf(word: string): string | undefined {
  return REASONS.get(word);
}
