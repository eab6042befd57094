import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

/**
 * Requests of one connection that are under way at once. A sender may send the next ones before the first is answered;
 * without a limit a connection could hold thousands of them for as long as the disk takes.
 */
export class Pipelined {
  readonly #max: number;
  readonly #underWay = new WeakMap<Duplex, number>();

  constructor(max: number) {
    this.#max = max;
  }

  /** False for one that is too many, which is refused; it is counted until it is answered otherwise. */
  begin({ socket }: IncomingMessage, response: ServerResponse): boolean {
    const before = this.#underWay.get(socket) ?? 0;
    if (before >= this.#max) return false;
    this.#underWay.set(socket, before + 1);
    response.once("close", () => this.#underWay.set(socket, (this.#underWay.get(socket) ?? 1) - 1));
    return true;
  }
}
