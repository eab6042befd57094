import { createAcceptance, type Acceptance } from "../../src/otel/acceptance.ts";
import type { Answer } from "../../src/otel/answer.ts";
import { Courier, type Delivery, type Freight, type Sender } from "../../src/otel/courier.ts";
import { DeliveryState } from "../../src/otel/delivery-state.ts";
import { manualClock, type ManualClock } from "./clocks.ts";
import { listeningLog } from "./export-setup.ts";

export const ACCEPTED: Answer = { kind: "accepted" };
export const UNREACHABLE: Answer = { kind: "retry", cause: "ECONNREFUSED", message: "nobody listens" };
export const BROKEN: Answer = { kind: "server_error", cause: "http 500", message: "oops" };
export const REFUSED: Answer = { kind: "split", cause: "http 400", message: "bad span", tooLarge: false };
export const FORBIDDEN: Answer = {
  kind: "misconfigured",
  cause: "http 401",
  message: "who are you",
  absent: false,
};
export const ABSENT: Answer = { kind: "misconfigured", cause: "http 404", message: "", absent: true };

export interface Bench {
  readonly clock: ManualClock;
  readonly acceptance: Acceptance;
  readonly courier: Courier<string>;
  readonly state: DeliveryState;
  /** Every request: when it was sent, counted from the start, and which records were in it. */
  readonly sent: { readonly at: number; readonly records: string; readonly withinMs: number }[];
  readonly lines: string[];
  readonly encoded: string[];
}

/** A courier of strings, to a backend that answers each request as `answer` says. */
export function bench(
  answer: (records: readonly string[], index: number) => Answer | Promise<Answer>,
  options: { readonly random?: () => number; readonly freight?: Partial<Freight<string>> } = {},
): Bench {
  const clock = manualClock();
  const startedAt = clock.now();
  const sent: Bench["sent"] = [];
  const lines: string[] = [];
  const encoded: string[] = [];
  const acceptance = createAcceptance();
  const sender: Sender = {
    target: "http://backend",
    prepare: async (bytes) => bytes,
    send: async (body, withinMs) => {
      const records = Buffer.from(body).toString();
      sent.push({ at: clock.now() - startedAt, records, withinMs });
      return answer(records.split(" "), sent.length - 1);
    },
    close: () => {},
  };
  const state = new DeliveryState({
    signal: "metrics",
    target: sender.target,
    acceptance,
    clock,
    log: listeningLog(lines),
  });
  const courier = new Courier<string>({
    freight: {
      signal: "metrics",
      encode: (records) => {
        encoded.push(records.join(" "));
        return Buffer.from(records.join(" "));
      },
      ...options.freight,
    },
    sender,
    state,
    clock,
    random: options.random ?? (() => 0.999_999),
    timeoutMs: 10_000,
  });
  acceptance.listen(() => courier.wake());
  return { clock, acceptance, courier, state, sent, lines, encoded };
}

/** The delivery once it is over; undefined as long as it is not. */
export function watch(delivery: Promise<Delivery<string>>): { result: Delivery<string> | undefined } {
  const seen: { result: Delivery<string> | undefined } = { result: undefined };
  void delivery.then((result) => (seen.result = result));
  return seen;
}

export function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, at) => `r${at}`);
}
