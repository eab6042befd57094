import type { IncomingMessage } from "node:http";

import type { Refusal } from "./answer.ts";
import { Gathered } from "./gathered.ts";
import { inflate, type Encoding } from "./inflate.ts";
import type { Room } from "./room.ts";
import type { Turns } from "./turns.ts";

export type Received =
  | { readonly outcome: "whole"; readonly bytes: Buffer }
  | { readonly outcome: "refused"; readonly refusal: Refusal }
  /** The sender went away before its body was complete: nobody is there to be answered. */
  | { readonly outcome: "gone" };

export interface ReceiveOptions {
  readonly encoding: Encoding | "identity";
  readonly maxBodyBytes: number;
  /** What all bodies being received may hold; this one's part is given back when `use` is done. */
  readonly room: Room;
  /**
   * Inflating is done body by body, when each has come whole: what it holds beside the bytes that come out
   * (16 MiB for Brotli) is then never held for a sender that is slow.
   */
  readonly turns: Turns;
}

/**
 * Reads the body of a request and gives it to `use`, inflated. It stops as soon as a limit is passed, and leaves
 * the rest of the request unread.
 */
export async function receive<T>(
  request: IncomingMessage,
  options: ReceiveOptions,
  use: (received: Received) => T | Promise<T>,
): Promise<T> {
  const sent = new Gathered(options);
  const inflated = new Gathered(options);
  try {
    const received = await gather(request, sent);
    const { encoding, turns } = options;
    if (received.outcome !== "whole" || encoding === "identity") return await use(received);
    const unpacked = await turns.take(() => unpack(received.bytes, { encoding, inflated }));
    sent.release();
    return await use(unpacked);
  } finally {
    sent.release();
    inflated.release();
  }
}

async function gather(request: IncomingMessage, sent: Gathered): Promise<Received> {
  try {
    // Destroying the request would take its connection along, and with it the answer.
    for await (const bytes of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      if (!sent.add(bytes)) return outcomeOf(sent);
    }
  } catch (error) {
    if (!request.destroyed) throw error;
    return { outcome: "gone" };
  }
  return request.complete ? outcomeOf(sent) : { outcome: "gone" };
}

async function unpack(
  bytes: Buffer,
  { encoding, inflated }: { readonly encoding: Encoding; readonly inflated: Gathered },
): Promise<Received> {
  const fault = await inflate(bytes, encoding, (part) => inflated.add(part));
  if (fault !== undefined) return { outcome: "refused", refusal: { status: 400, message: fault } };
  return outcomeOf(inflated);
}

function outcomeOf(gathered: Gathered): Received {
  const { refusal } = gathered;
  return refusal === undefined
    ? { outcome: "whole", bytes: gathered.whole() }
    : { outcome: "refused", refusal };
}
