/** What one HTTP source takes, keeps and waits for. Milliseconds and bytes. */
export interface HttpLimits {
  /** Of a body as it was sent, and of what it inflates to. */
  readonly maxBodyBytes: number;
  /** Events in one body. */
  readonly maxEvents: number;
  /** Rejected events that an answer lists; the others it only counts. */
  readonly maxListed: number;
  /** From the beginning of a connection or request to the end of its headers. */
  readonly headersTimeoutMs: number;
  /** To the end of its body. */
  readonly requestTimeoutMs: number;
  /** Between two requests of a connection. */
  readonly keepAliveMs: number;
  /** Without a byte in either direction, whatever is under way. */
  readonly silenceMs: number;
  /** How often the two timeouts of requests are looked at. */
  readonly checkMs: number;
  readonly maxConnections: number;
  /** On one connection, which is then closed. */
  readonly maxRequestsPerConnection: number;
  /** Under way at once on one connection; others are refused until one is answered. */
  readonly maxPipelined: number;
  /** Of all bodies that are being received, together. */
  readonly maxReceivingBytes: number;
  /** Bodies that are inflated at once; others wait for their turn. */
  readonly maxInflating: number;
  /** Of all bodies that were taken and wait to be used, together. */
  readonly maxWaitingBytes: number;
  /** Answers that are remembered by the `Idempotency-Key` of their requests, and the bytes that they take. */
  readonly maxKeys: number;
  readonly maxKeyBytes: number;
  /** How long an answer is remembered. */
  readonly rememberKeyMs: number;
  /** For so long bodies may be refused for want of room before `/readyz` says so. */
  readonly fullMs: number;
}

/** What holds where nothing else is said; `docs/input.md` says the same. */
export const HTTP_LIMITS: HttpLimits = {
  maxBodyBytes: 16 * 1024 * 1024,
  maxEvents: 200_000,
  maxListed: 100,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  keepAliveMs: 65_000,
  silenceMs: 120_000,
  checkMs: 1_000,
  maxConnections: 1_000,
  maxRequestsPerConnection: 10_000,
  maxPipelined: 32,
  maxReceivingBytes: 64 * 1024 * 1024,
  maxInflating: 4,
  maxWaitingBytes: 64 * 1024 * 1024,
  maxKeys: 10_000,
  maxKeyBytes: 16 * 1024 * 1024,
  rememberKeyMs: 3_600_000,
  fullMs: 10_000,
};
