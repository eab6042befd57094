// Bucket bounds as the GenAI conventions advise them: inclusive upper bounds, rising.

/** Seconds of one operation: a model call, a tool, a chunk; also an export or a commit of the bridge. */
export const OPERATION_SECONDS: readonly number[] = [
  0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];

/** Seconds of a whole run of an agent. */
export const AGENT_SECONDS: readonly number[] = [
  0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6,
];

/** Tokens of one model call. */
export const TOKENS: readonly number[] = [
  1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
];

/** Calls within one run. */
export const CALLS: readonly number[] = [1, 2, 4, 8, 16, 32, 64, 128];
