import { isUtf8 } from "node:buffer";
import { open, type FileHandle } from "node:fs/promises";
import { DEFAULT_MAX_LINE_BYTES, HEAD_BYTES } from "./event/lines.ts";
import { BridgeError, systemReason } from "./errors.ts";
import type { Log } from "./log.ts";

/** Something that was refused: an event by the decoder, a span by the backend. */
export interface Refusal {
  readonly kind: "event" | "span";
  readonly code: string;
  readonly message: string;
  /** Name of the source it came from. */
  readonly source: string;
  /** The broker's id, or whatever finds it in its source again. */
  readonly deliveryId: string | undefined;
  readonly at: Date;
  /** What is left of it; read before `add` returns. */
  readonly payload: Uint8Array;
  /** Length of the whole, when `payload` is only its beginning. */
  readonly bytes?: number;
  /** What stood beside an event, as JSON writes it; left out when that is long. */
  readonly outside?: unknown;
}

/** Text waiting to be written, in UTF-16 units, from which on `add` asks to be waited for. */
const MAX_WAITING = 256 * 1024;

/** UTF-16 units of what stood beside an event: an agent's name and a trace context, escaped, are shorter. */
const MAX_OUTSIDE = 16 * 1024;

/**
 * Opens the dead-letter file: appended to, readable and writable by its owner only (0600), also when
 * it existed with more rights. Rejects with `BEHEST_USAGE` when it cannot be written or made private.
 */
export async function openDeadLetter(path: string, log: Log): Promise<DeadLetter> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "a", 0o600);
    const stats = await handle.stat();
    // Devices and pipes have rights of their own.
    if (stats.isFile() && (stats.mode & 0o077) !== 0) await handle.chmod(0o600);
    return new DeadLetter(path, handle, log);
  } catch (error) {
    await handle?.close().catch(() => {});
    throw new BridgeError("BEHEST_USAGE", `--dead-letter: ${path} ${systemReason(error)}`, { cause: error });
  }
}

/** Keeps what was refused, one JSON line each. A file that cannot be written never stops the bridge. */
export class DeadLetter {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #log: Log;
  #waiting: string[] = [];
  #waitingUnits = 0;
  #writing: Promise<void> | undefined;
  #written = 0;
  #failed = 0;
  /** Nothing was written since the file was last asked to be synchronised with the disk. */
  #isSynced = true;
  #syncing: Promise<void> | undefined;

  constructor(path: string, handle: FileHandle, log: Log) {
    this.#path = path;
    this.#handle = handle;
    this.#log = log;
  }

  /** Lines in the file, and lines that could not be written to it. */
  get counts(): { readonly written: number; readonly failed: number } {
    return { written: this.#written, failed: this.#failed };
  }

  /** Takes a refusal; gives back a promise to wait for before more, when writing has fallen behind. */
  add(refusal: Refusal): Promise<void> | undefined {
    const line = lineOf(refusal);
    this.#waiting.push(line);
    this.#waitingUnits += line.length;
    this.#writing ??= this.#write();
    return this.#waitingUnits > MAX_WAITING ? this.#writing : undefined;
  }

  /** Resolves when everything added before is on the disk, or was given up. */
  async flushed(): Promise<void> {
    await this.#writing;
    if (!this.#isSynced) {
      this.#isSynced = true;
      // Devices and pipes cannot be synchronised.
      this.#syncing = this.#handle.datasync().catch(() => {});
    }
    await this.#syncing;
  }

  /** Writes what waits and lets go of the file. Idempotent; nothing may be added any more. */
  async close(): Promise<void> {
    await this.#writing;
    await this.#handle.close().catch(() => {});
    if (this.#failed > 0) {
      this.#log.warn("refused input or spans could not be kept", { file: this.#path, lines: this.#failed });
    }
  }

  /** One write at a time, so that lines never mix. Ends when nothing waits. */
  async #write(): Promise<void> {
    // Not before the caller has gone on: lines added in one go are written in one go.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const lines = this.#waiting;
      this.#waiting = [];
      this.#waitingUnits = 0;
      try {
        await this.#handle.appendFile(lines.join(""));
        this.#written += lines.length;
        this.#isSynced = false;
      } catch (error) {
        this.#warn(error);
        this.#failed += lines.length;
      }
    }
    this.#writing = undefined;
  }

  #warn(error: unknown): void {
    if (this.#failed > 0) return;
    this.#log.warn(`the dead-letter file cannot be written: it ${systemReason(error)}`, { file: this.#path });
  }
}

/**
 * The line of docs/delivery.md, "Dead letters": text where the payload is text, base64 where it is not. It is read back by
 * `src/event/letter.ts`, and begins with `kind`, by which the splitter knows that it may be long.
 */
function lineOf({
  kind,
  code,
  message,
  source,
  deliveryId,
  at,
  payload,
  bytes = payload.length,
  outside,
}: Refusal): string {
  const isWhole = payload.length === bytes && bytes <= DEFAULT_MAX_LINE_BYTES;
  const kept = isWhole ? payload : payload.subarray(0, HEAD_BYTES);
  const text = textOf(kept, { mayBeCut: !isWhole });
  const shown =
    text === undefined ? { payload_base64: Buffer.from(kept).toString("base64") } : { payload: text };
  const fixed = { kind, code, message, source, delivery_id: deliveryId ?? null, at: at.toISOString() };
  const isShort = outside !== undefined && JSON.stringify(outside).length <= MAX_OUTSIDE;
  return `${JSON.stringify({ ...fixed, ...shown, bytes, ...(isShort && { outside }) })}\n`;
}

/** The bytes as UTF-8; undefined when they are not. A cut may go through the last character. */
function textOf(bytes: Uint8Array, { mayBeCut }: { readonly mayBeCut: boolean }): string | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let end = buffer.length; end >= Math.max(0, buffer.length - (mayBeCut ? 3 : 0)); end--) {
    const part = buffer.subarray(0, end);
    if (isUtf8(part)) return part.toString("utf8");
  }
  return undefined;
}
