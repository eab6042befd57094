import type { RequestRefusal } from "../source.ts";
import type { Refusal } from "./answer.ts";

/** How many requests and connections were refused, by reason. */
export class Refused {
  readonly #counts = new Map<RequestRefusal, number>();

  /** As it is now, out of reach of what is counted later. */
  get counts(): ReadonlyMap<RequestRefusal, number> {
    return new Map(this.#counts);
  }

  count(reason: RequestRefusal): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1);
  }

  /** Counts a request that is answered with this status. */
  answered(status: Refusal["status"] | 408 | 431): void {
    this.count(REASONS[status]);
  }
}

const REASONS: Readonly<Record<Refusal["status"] | 408 | 431, RequestRefusal>> = {
  400: "malformed",
  401: "unauthorized",
  403: "unauthorized",
  404: "not_found",
  405: "not_found",
  408: "timeout",
  413: "too_large",
  415: "content_type",
  429: "full",
  431: "too_large",
  500: "unavailable",
  501: "malformed",
  503: "unavailable",
};
