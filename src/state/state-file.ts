import type { FileHandle } from "node:fs/promises";
import { FRAME_HEAD_BYTES, findFrame, readBytes, readFrames, sealFrame, writeBytes } from "./frame.ts";
import type { StateChange, StateRecord } from "./store.ts";

/**
 * A file of state: a header, and then commits, each some frames of records and a frame that ends it.
 * The state is what all of them up to the last ended one come to, a later record replacing an earlier
 * one of its key. A file gets its name only when its first commit, the whole state, is in it.
 */
const STATE_VERSION = 1;

const FORMAT = "behest-otel state";
/** Records of one frame; a longer one has a frame of its own. */
const PART_BYTES = 1024 * 1024;
/** In place of a value's length: the record is taken out. */
const REMOVED = 0xffff_ffff;
const MAX_KEY_BYTES = 255;
const KIND = { header: 0, part: 1, commit: 2 } as const;
/** The kind of a frame and the number of its commit, from 1 in each file. */
const PREFIX_BYTES = 1 + 4;

export interface StateHeader {
  readonly format: string;
  readonly version: number;
  /** The source whose state it is. */
  readonly name: string;
  readonly epoch: number;
}

/** A file of state as one look found it. */
export interface StateContent {
  readonly header: StateHeader;
  /** Behind the last commit; what follows was never finished. */
  readonly end: number;
  /** How many are in it. */
  readonly commits: number;
  /** Where the newest record of each key stands. */
  readonly records: ReadonlyMap<string, number>;
  /** Of the last commit, milliseconds since 1970. */
  readonly committedMs: number;
}

/** What is wrong with a file of state, in words. */
export class UnreadableState extends Error {
  override readonly name = "UnreadableState";
}

/** Reads a file up to `size`. Rejects with `UnreadableState` when what was committed is not all there. */
export async function readStateFile(handle: FileHandle, size: number): Promise<StateContent> {
  const records = new Map<string, number>();
  let open: Noted[] = [];
  let header: StateHeader | undefined;
  let end = 0;
  let commits = 0;
  let committedMs = 0;
  for (let at = 0; at < size;) {
    const { frames, next } = await readFrames(handle, range(at, size));
    if (frames.length === 0) {
      await expectUnfinished(handle, { at, size, commits });
      break;
    }
    for (const { at: frameAt, body } of frames) {
      if (header === undefined) {
        header = readHeader(body);
        continue;
      }
      if (body[0] === KIND.part) {
        for (const { key, start, removed } of recordsOf(body)) {
          open.push({ key, at: removed ? undefined : frameAt + FRAME_HEAD_BYTES + start });
        }
        // A file without a single commit is refused whole, so its first need not be held back.
        if (end > 0) continue;
      } else {
        end = frameAt + FRAME_HEAD_BYTES + body.length;
        commits = commitOf(body);
        ({ atMs: committedMs } = JSON.parse(body.toString("utf8", PREFIX_BYTES)) as { atMs: number });
      }
      apply(open, records);
      open = [];
    }
    at = next;
  }
  if (header === undefined) throw new UnreadableState("is damaged: its first bytes are not those of a state");
  if (end === 0) throw new UnreadableState("is damaged: no commit in it is whole");
  return { header, end, commits, records, committedMs };
}

/** A record of a commit whose end was not read yet; `at` is undefined when it is taken out. */
interface Noted {
  readonly key: string;
  readonly at: number | undefined;
}

function apply(noted: readonly Noted[], records: Map<string, number>): void {
  for (const { key, at } of noted) {
    if (at === undefined) records.delete(key);
    else records.set(key, at);
  }
}

/** The newest record of each key, in the order in which they were written. */
export async function* storedRecords(handle: FileHandle, content: StateContent): AsyncGenerator<StateRecord> {
  for await (const { key, body, start, end } of newest(handle, content)) {
    yield [key, body.toString("utf8", start + 1 + key.length + 4, end)];
  }
}

/** The newest record with this key; undefined when there is none. */
export async function findRecord(
  handle: FileHandle,
  { records }: StateContent,
  key: string,
): Promise<string | undefined> {
  const at = records.get(key);
  if (at === undefined) return undefined;
  const valueAt = at + 1 + key.length + 4;
  const head = await readBytes(handle, at, valueAt - at);
  const value = await readBytes(handle, valueAt, head.readUInt32LE(head.length - 4));
  return value.toString("utf8");
}

/** Writes frames one after another, at most about a megabyte at a time, so that nothing else waits for long. */
export class StateWriter {
  readonly #handle: FileHandle;
  readonly #commit: number;
  #at: number;
  #parts: Buffer[] = [];
  #bytes = 0;

  /** Begins behind what is in the file: so many bytes, and so many commits. */
  constructor(handle: FileHandle, { end, commits }: { readonly end: number; readonly commits: number }) {
    this.#handle = handle;
    this.#commit = commits + 1;
    this.#at = end;
  }

  /** Offset behind what was written. */
  get at(): number {
    return this.#at;
  }

  async header(name: string, epoch: number): Promise<void> {
    const header: StateHeader = { format: FORMAT, version: STATE_VERSION, name, epoch };
    await this.#frame(KIND.header, [Buffer.from(JSON.stringify(header))]);
  }

  /** Every record of another file that `change` says nothing of. */
  async copy(from: FileHandle, content: StateContent, change: StateChange): Promise<void> {
    const removes = new Set(change.removes);
    for await (const { key, body, start, end } of newest(from, content)) {
      if (!change.puts.has(key) && !removes.has(key)) await this.#record(body.subarray(start, end));
    }
  }

  async change({ puts, removes }: StateChange): Promise<void> {
    for (const [key, value] of puts) await this.#record(encodeRecord(key, value));
    for (const key of removes) await this.#record(encodeRecord(key, undefined));
  }

  /** Ends the commit. What was written is durable once the file has been synchronised. */
  async commit(atMs: number): Promise<void> {
    await this.#part();
    await this.#frame(KIND.commit, [Buffer.from(JSON.stringify({ atMs }))]);
  }

  async #record(bytes: Buffer): Promise<void> {
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
    if (this.#bytes >= PART_BYTES) await this.#part();
  }

  async #part(): Promise<void> {
    if (this.#parts.length > 0) await this.#frame(KIND.part, this.#parts);
    this.#parts = [];
    this.#bytes = 0;
  }

  async #frame(kind: number, bodies: readonly Buffer[]): Promise<void> {
    const frame = Buffer.concat([Buffer.alloc(FRAME_HEAD_BYTES + PREFIX_BYTES), ...bodies]);
    frame[FRAME_HEAD_BYTES] = kind;
    frame.writeUInt32LE(this.#commit, FRAME_HEAD_BYTES + 1);
    sealFrame(frame, 0, { length: frame.length - FRAME_HEAD_BYTES, seed: 0 });
    await writeBytes(this.#handle, frame, this.#at);
    this.#at += frame.length;
  }
}

function range(at: number, end: number) {
  return { at, end, seedAt: () => 0 };
}

/**
 * What a kill or a power cut leaves of the last commit is let go: it was never relied upon. When a frame of
 * a commit after that one is found, it had ended, and bytes of it are missing.
 */
async function expectUnfinished(
  handle: FileHandle,
  { at, size, commits }: { readonly at: number; readonly size: number; readonly commits: number },
): Promise<void> {
  for (let found = await findFrame(handle, range(at + 1, size)); found < size;) {
    const { frames, next } = await readFrames(handle, range(found, size));
    if (frames.some(({ body }) => commitOf(body) > commits + 1)) {
      throw new UnreadableState(`is damaged: its bytes ${at} to ${found} cannot be read`);
    }
    found = frames.length > 0 ? next : await findFrame(handle, range(found + 1, size));
  }
}

function commitOf(body: Buffer): number {
  return body.readUInt32LE(1);
}

function readHeader(body: Buffer): StateHeader {
  const header =
    body[0] === KIND.header
      ? (JSON.parse(body.toString("utf8", PREFIX_BYTES)) as Partial<StateHeader>)
      : undefined;
  if (header?.format !== FORMAT) throw new UnreadableState("is no state of behest-otel");
  if (header.version === STATE_VERSION) return header as StateHeader;
  throw new UnreadableState(
    `is of version ${header.version}, and this behest-otel reads version ${STATE_VERSION}: run the one that wrote it`,
  );
}

interface StoredRecord {
  readonly key: string;
  /** In the body of its frame. */
  readonly start: number;
  readonly end: number;
  readonly removed: boolean;
}

function* recordsOf(body: Buffer): Generator<StoredRecord> {
  for (let start = PREFIX_BYTES; start < body.length;) {
    const keyEnd = start + 1 + (body[start] ?? 0);
    const key = body.toString("latin1", start + 1, keyEnd);
    const bytes = body.readUInt32LE(keyEnd);
    const removed = bytes === REMOVED;
    const end = keyEnd + 4 + (removed ? 0 : bytes);
    yield { key, start, end, removed };
    start = end;
  }
}

async function* newest(
  handle: FileHandle,
  { end, records }: StateContent,
): AsyncGenerator<StoredRecord & { readonly body: Buffer }> {
  for (let at = 0; at < end;) {
    const { frames, next } = await readFrames(handle, range(at, end));
    // It could be read before.
    if (frames.length === 0) throw new UnreadableState(`is damaged: byte ${at} can no longer be read`);
    for (const { at: frameAt, body } of frames) {
      if (body[0] !== KIND.part) continue;
      for (const record of recordsOf(body)) {
        if (records.get(record.key) === frameAt + FRAME_HEAD_BYTES + record.start) yield { ...record, body };
      }
    }
    at = next;
  }
}

function encodeRecord(key: string, value: string | undefined): Buffer {
  const bytes = value === undefined ? 0 : Buffer.byteLength(value);
  const keyBytes = Buffer.byteLength(key);
  if (keyBytes > MAX_KEY_BYTES) throw new Error(`expected a key of at most ${MAX_KEY_BYTES} bytes: ${key}`);
  const record = Buffer.allocUnsafe(1 + keyBytes + 4 + bytes);
  record[0] = keyBytes;
  record.write(key, 1, "latin1");
  record.writeUInt32LE(value === undefined ? REMOVED : bytes, 1 + keyBytes);
  if (value !== undefined) record.write(value, 1 + keyBytes + 4);
  return record;
}
