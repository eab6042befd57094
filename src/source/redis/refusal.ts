import { systemReason } from "../../errors.ts";
import type { Address } from "./url.ts";

/** The server answered, and the answer is no. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  /** Its first word: `OOM`, `NOGROUP`; `ERR` for those without a word of their own. */
  readonly word: string;

  constructor(text: string, place?: string) {
    super(place === undefined ? text : `${place}: ${text}`);
    this.word = /^[A-Z][A-Z0-9_]*(?=[ :]|$)/.exec(text)?.[0] ?? "ERR";
  }
}

/** There was no answer: the connection could not be made, broke, or fell silent. */
export class LostConnection extends Error {
  override readonly name = "LostConnection";
}

/** What the client says when there is no connection, in words. */
export function lost(error: unknown): LostConnection {
  return error instanceof LostConnection ? error : new LostConnection(reasonOf(error), { cause: error });
}

/**
 * Where the slot of a key has moved to, of a refusal that says so (Redis Cluster specification, MOVED).
 * Without a host it is the one that was asked.
 */
export function movedTo(refusal: Refusal, asked: Address): Address | undefined {
  const [, host, port] = /^MOVED \d+ (.*):(\d+)/.exec(refusal.message) ?? [];
  if (port === undefined) return undefined;
  return { host: host === undefined || host === "" ? asked.host : host, port: Number(port) };
}

function reasonOf(error: unknown): string {
  // Every address of a name was tried; one reason speaks for all of them.
  if (error instanceof AggregateError && error.message === "") return reasonOf(error.errors[0]);
  const { code } = error as NodeJS.ErrnoException;
  return (code !== undefined && CONNECTION_REASONS[code]) || systemReason(error);
}

const CONNECTION_REASONS: Readonly<Record<string, string | undefined>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection was reset",
  EPIPE: "the connection was closed",
  ENOTFOUND: "the name of the host is not known",
  EAI_AGAIN: "the name of the host cannot be looked up",
  ETIMEDOUT: "the host does not answer",
  EHOSTUNREACH: "the host cannot be reached",
  ENETUNREACH: "the network cannot be reached",
};
