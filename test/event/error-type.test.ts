import { describe, expect, it } from "vitest";
import { ERROR_TYPES, errorTypeOf } from "../../src/event/error-type.ts";

const KNOWN = [
  ["iteration limit exceeded: 10", "iteration_limit_exceeded"],
  ["token budget exceeded: 1200 > 1000", "token_budget_exceeded"],
  ["doom loop detected: search called 3 times", "doom_loop"],
  ["context length exceeded: model context 8192, estimated 9000", "context_length_exceeded"],
  ["provider not found: acme", "provider_not_found"],
  ["session not found: 0", "session_not_found"],
  ["session busy: 0", "session_busy"],
  ["run not found: 0", "run_not_found"],
  ["invalid run state: expected Running, got Completed", "invalid_run_state"],
  ["tool execution timeout: search", "tool_timeout"],
  ["recovery error: no checkpoint", "recovery_failed"],
  ["input rejected: 7 — too long", "input_rejected"],
  ["input admission error: closed", "input_admission_failed"],
  ["authentication failed for provider `anthropic`", "provider_authentication"],
  ["provider `openai` rejected request: bad model", "provider_bad_request"],
  ["provider `openai` rate limited request", "provider_rate_limited"],
  ["provider `openai` timed out", "provider_timeout"],
  ["provider `openai` is overloaded", "provider_overloaded"],
  ["provider `openai` does not support feature `images`", "provider_unsupported"],
  ["transport error for provider `openai`: reset", "provider_transport"],
  ["failed to decode response from provider `openai`: eof", "provider_decode"],
  ["provider `openai` returned error: 500", "provider_error"],
  ["tool `search` is not registered", "tool_not_found"],
  ["tool `search` failed: no network", "tool_failed"],
  ["tool `search` received invalid arguments: missing q", "tool_invalid_arguments"],
  ["tool `search` is not implemented", "tool_not_implemented"],
  ["context adapter `memory` failed: x", "context_failed"],
  ["context adapter `memory` is not registered", "context_failed"],
  ["invalid context input: x", "context_failed"],
  ["storage entity not found: `7`", "storage_failed"],
  ["storage connection failed (redis): x", "storage_failed"],
  ["data corruption in `field`: x", "storage_failed"],
] as const;

describe("the error.type of a text", () => {
  it.each(KNOWN)("%s is %s", (text, expected) => {
    expect(errorTypeOf(text)).toBe(expected);
    expect(ERROR_TYPES).toContain(expected);
  });

  it.each([
    "",
    "boom",
    "Iteration limit exceeded: 10",
    " iteration limit exceeded: 10",
    "iteration limit exceeded",
    "configuration error: x",
    "provider `openai",
    "provider `openai` exploded",
    "provider `a`b` timed out",
    "tool `search` said: tool `x` failed: y",
    "` timed out",
  ])("%j is none of those", (text) => {
    expect(errorTypeOf(text)).toBe("_OTHER");
  });

  it("is one of few values, each of which some text has", () => {
    expect([...ERROR_TYPES].sort()).toEqual(
      [...new Set([...KNOWN.map(([, type]) => type), "_OTHER"])].sort(),
    );
  });
});
