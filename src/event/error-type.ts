/** The error.type of texts that no row of the table knows. */
const OTHER_ERROR_TYPE = "_OTHER";

interface Row {
  /** The text begins with this. */
  readonly begins: string;
  /** Then comes a name up to the next backtick, and this. */
  readonly after?: string;
  readonly errorType: string;
}

/**
 * The Display texts of behest's RuntimeError and of what it wraps (`runtime/error.rs`, `error.rs`; 0.2.2 to
 * 0.5.9). The first row that fits decides.
 */
const ROWS: readonly Row[] = [
  { begins: "iteration limit exceeded: ", errorType: "iteration_limit_exceeded" },
  { begins: "token budget exceeded: ", errorType: "token_budget_exceeded" },
  { begins: "doom loop detected: ", errorType: "doom_loop" },
  { begins: "context length exceeded: ", errorType: "context_length_exceeded" },
  { begins: "provider not found: ", errorType: "provider_not_found" },
  { begins: "session not found: ", errorType: "session_not_found" },
  { begins: "session busy: ", errorType: "session_busy" },
  { begins: "run not found: ", errorType: "run_not_found" },
  { begins: "invalid run state: ", errorType: "invalid_run_state" },
  { begins: "tool execution timeout: ", errorType: "tool_timeout" },
  { begins: "recovery error: ", errorType: "recovery_failed" },
  { begins: "input rejected: ", errorType: "input_rejected" },
  { begins: "input admission error: ", errorType: "input_admission_failed" },
  { begins: "authentication failed for provider `", errorType: "provider_authentication" },
  { begins: "provider `", after: "` rejected request: ", errorType: "provider_bad_request" },
  { begins: "provider `", after: "` rate limited request", errorType: "provider_rate_limited" },
  { begins: "provider `", after: "` timed out", errorType: "provider_timeout" },
  { begins: "provider `", after: "` is overloaded", errorType: "provider_overloaded" },
  { begins: "provider `", after: "` does not support feature ", errorType: "provider_unsupported" },
  { begins: "transport error for provider `", errorType: "provider_transport" },
  { begins: "failed to decode response from provider `", errorType: "provider_decode" },
  { begins: "provider `", after: "` returned error: ", errorType: "provider_error" },
  { begins: "tool `", after: "` is not registered", errorType: "tool_not_found" },
  { begins: "tool `", after: "` failed: ", errorType: "tool_failed" },
  { begins: "tool `", after: "` received invalid arguments: ", errorType: "tool_invalid_arguments" },
  { begins: "tool `", after: "` is not implemented", errorType: "tool_not_implemented" },
  { begins: "context adapter ", errorType: "context_failed" },
  { begins: "invalid context input: ", errorType: "context_failed" },
  { begins: "storage ", errorType: "storage_failed" },
  { begins: "data corruption in ", errorType: "storage_failed" },
];

/** Every value that `errorTypeOf` gives: few, so that it may stand on a metric. */
export const ERROR_TYPES: readonly string[] = [
  ...new Set([...ROWS.map((row) => row.errorType), OTHER_ERROR_TYPE]),
];

/** The low-cardinality class of the text of a RunFailed or of a failed tool. */
export function errorTypeOf(text: string): string {
  return ROWS.find((row) => fits(row, text))?.errorType ?? OTHER_ERROR_TYPE;
}

function fits(row: Row, text: string): boolean {
  if (!text.startsWith(row.begins)) return false;
  if (row.after === undefined) return true;
  return text.startsWith(row.after, text.indexOf("`", row.begins.length));
}
