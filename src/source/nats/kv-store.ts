import { randomUUID } from "node:crypto";

import { BridgeError } from "../../errors.ts";
import type { Log } from "../../log.ts";
import type { StateChange, StateRecord, StateStore } from "../../state/store.ts";
import { apiCode, isUnanswered, natsReason, WRONG_LAST_SEQUENCE } from "./answer.ts";
import { bucketOf, OwnedBucket, type ChunkName } from "./bucket.ts";
import { ChunkLog, type Plan } from "./chunk-log.ts";
import { parseChunk } from "./chunk-text.ts";
import { CHUNK_REFERENCE_BYTES, formatHead, parseHead, type Head } from "./head.ts";
import { streamInfo, type Linked, type NatsLink } from "./link.ts";

export interface KvStoreOptions {
  /** Whose state it is: the name of the durable consumer. */
  readonly owner: string;
  readonly log: Log;
  /** Called with the ids of deliveries once their commit is safe. */
  readonly acknowledge: (ids: readonly string[]) => void;
}

interface Opened {
  readonly bucket: OwnedBucket;
  readonly chunks: ChunkLog;
  readonly epoch: number;
}

/** A commit of which nobody knows whether it came about: it did, it did not, or it still will. */
interface Doubtful {
  readonly commit: number;
  readonly plan: Plan;
}

const HEAD = "head";
const GONE =
  "what was committed is not there any more (the bucket was emptied, deleted or restored); the whole state follows";
const TAIL_BYTES = 128 * 1024;
const SLACK_BYTES = 8 * 1024 * 1024;
const MAX_CHUNKS = 4_096;
const READ_AHEAD = 4;
/** Chunks to be taken out that are remembered; what is beyond stays until the state is opened next. */
const MAX_GARBAGE = 10_000;

/**
 * State in a key-value bucket beside the stream. What a commit changes is packed into chunks of at most
 * 512 KiB, and then the head, which names every chunk that counts, is moved by compare-and-set: that is
 * the commit. Chunks that no head names are rubbish, whoever left them behind.
 */
export class KvStore implements StateStore {
  readonly name: string;
  readonly #link: NatsLink;
  readonly #options: KvStoreOptions;
  readonly #writer = randomUUID();
  #holds = false;
  #opened: Opened | undefined;
  #commit = 0;
  /** Of the commits that which the head has, and the number of its last change. */
  #committed = 0;
  #revision = 0;
  #isGone = false;
  /** All of them move the head that has `#revision`, so at most one of them ever will. */
  #doubtful: readonly Doubtful[] = [];
  #garbage: readonly ChunkName[] = [];

  constructor(link: NatsLink, options: KvStoreOptions) {
    this.name = `${link.server}/KV_${bucketOf(link.spec.stream)}/${options.owner}`;
    this.#link = link;
    this.#options = options;
  }

  async open(): Promise<AsyncIterable<StateRecord>> {
    const { spec } = this.#link;
    const { owner, log } = this.#options;
    const linked = await this.#hold();
    try {
      const { config } = await streamInfo(this.#link, linked.manager, log);
      const bucket = await OwnedBucket.open(this.#link, linked, {
        bucket: bucketOf(spec.stream),
        owner,
        replicas: config.num_replicas,
      });
      const { epoch, chunks } = await this.#takeEpoch(bucket);
      const chunkLog = new ChunkLog(chunks, epoch, {
        chunkBytes: bucket.maxValueBytes,
        tailBytes: TAIL_BYTES,
        slackBytes: SLACK_BYTES,
        maxChunks: Math.min(MAX_CHUNKS, Math.floor(bucket.maxValueBytes / CHUNK_REFERENCE_BYTES) - 64),
      });
      this.#opened = { bucket, chunks: chunkLog, epoch };
      await this.#sweep(this.#opened);
      return this.#records(this.#opened);
    } catch (error) {
      await this.close();
      if (error instanceof BridgeError) throw error;
      throw new BridgeError("BEHEST_STATE_OPEN", `${this.name}: ${natsReason(error)}`, { cause: error });
    }
  }

  async peek(key: string): Promise<string | undefined> {
    const linked = await this.#hold();
    const names = { bucket: bucketOf(this.#link.spec.stream), owner: this.#options.owner, replicas: 1 };
    try {
      const bucket = await OwnedBucket.find(this.#link, linked, names);
      return bucket && (await this.#peek(bucket, key));
    } catch (error) {
      if (error instanceof BridgeError) throw error;
      throw new BridgeError("BEHEST_STATE_OPEN", `${this.name}: ${natsReason(error)}`, { cause: error });
    }
  }

  /** What was committed is gone, with the bucket or its end: only all of it can make it whole again. */
  get needsWhole(): boolean {
    return this.#isGone;
  }

  /** Of the values that count, without the head. */
  get bytes(): number | undefined {
    return this.#opened?.chunks.bytes;
  }

  async commit(change: StateChange): Promise<void> {
    const opened = this.#opened;
    if (opened === undefined || opened.chunks.toRead !== undefined) {
      throw new Error("a state is read before it is changed");
    }
    if (!this.#link.isUp) throw this.#failed("the connection to the server is lost");
    try {
      await (this.#isGone ? this.#regain(opened, change) : this.#settle(opened));
      // Again only when an earlier commit came about in between, which can be once.
      while (!(await this.#tryCommit(opened, change)));
    } catch (error) {
      await this.#checkGone(opened, error);
      // What was written in vain may be what now fills the server up.
      await this.#collect(opened);
      if (error instanceof BridgeError) throw error;
      throw this.#failed(natsReason(error), error);
    }
    this.#isGone = false;
    this.#options.acknowledge(change.used);
    await this.#collect(opened);
  }

  async close(): Promise<void> {
    this.#opened = undefined;
    if (!this.#holds) return;
    this.#holds = false;
    await this.#link.release();
  }

  /** Whether another process has opened the state since. Rejects when that cannot be asked. */
  async isReplaced(): Promise<boolean> {
    if (this.#opened === undefined) return false;
    const { head } = await this.#readHead(this.#opened.bucket);
    return head !== undefined && head.writer !== this.#writer;
  }

  /** Holds the connection once, however often it is asked. */
  async #hold(): Promise<Linked> {
    const linked = await this.#link.hold();
    if (this.#holds) await this.#link.release();
    this.#holds = true;
    return linked;
  }

  async #peek(bucket: OwnedBucket, key: string): Promise<string | undefined> {
    let { head, revision } = await this.#readHead(bucket);
    for (;;) {
      try {
        // What is written once and stays mostly stands where the state began.
        for (const chunk of head?.chunks ?? []) {
          const value = parseChunk(await bucket.getChunk(chunk)).get(key);
          if (value !== undefined) return value;
        }
        return undefined;
      } catch (error) {
        // Its owner has moved the head and taken out what that named: there is another to read.
        const before = revision;
        ({ head, revision } = await this.#readHead(bucket));
        if (revision === before) throw error;
      }
    }
  }

  /** Moves the head to the next epoch, with the chunks that it names. */
  async #takeEpoch(bucket: OwnedBucket): Promise<Head> {
    for (;;) {
      const { head, revision } = await this.#readHead(bucket);
      // It was the answer that was lost.
      if (head?.writer === this.#writer) {
        this.#revision = revision;
        return head;
      }
      const next: Head = {
        epoch: (head?.epoch ?? 0) + 1,
        writer: this.#writer,
        commit: 0,
        chunks: head?.chunks ?? [],
      };
      try {
        const set = () => bucket.compareAndSet(HEAD, formatHead(next), revision);
        this.#revision = await this.#link.untilHeard(set);
        return next;
      } catch (error) {
        // The process that is being replaced, or another new one, was quicker; or the answer was lost.
        const isUndecided = isUnanswered(error) || WRONG_LAST_SEQUENCE.includes(apiCode(error));
        if (!isUndecided) throw error;
      }
    }
  }

  async *#records({ bucket, chunks }: Opened): AsyncGenerator<StateRecord> {
    const order = chunks.chunks.toReversed();
    const ahead: Promise<Buffer>[] = [];
    for (const [index] of order.entries()) {
      for (const chunk of order.slice(index + ahead.length, index + READ_AHEAD)) {
        const text = bucket.getChunk(chunk);
        // It is looked at when its turn comes.
        text.catch(() => {});
        ahead.push(text);
      }
      try {
        yield* chunks.read((await ahead.shift()) as Buffer);
      } catch (error) {
        // Whoever replaces this process takes out what the state needs no more.
        if (await this.isReplaced()) throw this.#replaced();
        throw new BridgeError(
          "BEHEST_STATE_OPEN",
          `${this.name}: the state is damaged: ${natsReason(error)}; to begin anew, with new counters and from the beginning of the stream, delete it`,
          { cause: error },
        );
      }
    }
  }

  /** False when an earlier commit turned out to have come about, so that this one needs another plan. */
  async #tryCommit(opened: Opened, change: StateChange): Promise<boolean> {
    const { bucket, chunks, epoch } = opened;
    const plan = await this.#plan(opened, change);
    try {
      await bucket.putChunks(plan.written);
    } catch (error) {
      this.#throwAway(plan.written.map(({ chunk }) => ({ ...chunk, mayBeMore: true })));
      throw error;
    }
    this.#commit += 1;
    const commit = this.#commit;
    const head = { epoch, writer: this.#writer, commit, chunks: plan.chunks };
    try {
      this.#revision = await bucket.compareAndSet(HEAD, formatHead(head), this.#revision);
    } catch (error) {
      const code = apiCode(error);
      // With an answer it did not come about; without one nobody knows.
      if (code === undefined) this.#doubtful = [...this.#doubtful, { commit, plan }];
      else this.#discard(plan);
      if (!WRONG_LAST_SEQUENCE.includes(code)) throw error;
      await this.#settle(opened, true);
      return false;
    }
    this.#adopt(chunks, { commit, plan });
    return true;
  }

  /** Finds out which of the doubtful commits came about. With `hasMoved`, one must have, or somebody else's. */
  async #settle({ bucket, chunks }: Opened, hasMoved = false): Promise<void> {
    if (this.#doubtful.length === 0 && !hasMoved) return;
    const { head, revision } = await this.#readOwnHead(bucket);
    const found = this.#doubtful.find(({ commit }) => commit === head?.commit);
    if (found !== undefined) {
      this.#revision = revision;
      this.#adopt(chunks, found);
    } else if (hasMoved || head?.commit !== this.#committed) {
      this.#lose();
      throw new Error(GONE);
    }
  }

  /** Places in a bucket that is gone are those of something else in the one that took its place. */
  #lose(): void {
    this.#isGone = true;
    this.#garbage = this.#garbage.map(nameOnly);
  }

  /** Makes ready to write everything, in the place of whatever is there. */
  async #regain({ bucket, chunks }: Opened, { whole = false }: StateChange): Promise<void> {
    if (!whole) throw new Error(GONE);
    await bucket.reopen();
    const { head, revision } = await this.#readOwnHead(bucket);
    this.#revision = revision;
    const found = this.#doubtful.find(({ commit }) => commit === head?.commit);
    if (found !== undefined) this.#adopt(chunks, found);
  }

  /** A failure may come of it that what was committed is not there any more. */
  async #checkGone({ bucket }: Opened, error: unknown): Promise<void> {
    if (apiCode(error) !== undefined || !this.#link.isUp) return;
    try {
      const { head } = await this.#readHead(bucket);
      if (head === undefined) this.#lose();
    } catch {
      // Then it cannot be said.
    }
  }

  /** Takes a commit for what is true now; no other that was doubtful can come about any more. */
  #adopt(chunks: ChunkLog, { commit, plan }: Doubtful): void {
    this.#committed = commit;
    chunks.apply(plan);
    for (const other of this.#doubtful) {
      if (other.plan !== plan) this.#discard(other.plan);
    }
    this.#doubtful = [];
    this.#throwAway(plan.dropped);
  }

  async #plan({ bucket, chunks }: Opened, { puts, removes, whole = false }: StateChange): Promise<Plan> {
    if (whole) return chunks.planWhole(puts);
    const changes = new Map<string, string | undefined>(removes.map((key) => [key, undefined]));
    let bytes = 0;
    for (const [key, value] of puts) {
      changes.set(key, value);
      bytes += key.length + value.length;
    }
    const texts = await Promise.all(chunks.toClean(bytes).map(async (chunk) => bucket.getChunk(chunk)));
    return chunks.plan(changes, texts);
  }

  async #readOwnHead(bucket: OwnedBucket): Promise<{ head: Head | undefined; revision: number }> {
    const read = await this.#readHead(bucket);
    if (read.head !== undefined && read.head.writer !== this.#writer) throw this.#replaced();
    return read;
  }

  async #readHead(bucket: OwnedBucket): Promise<{ head: Head | undefined; revision: number }> {
    const entry = await bucket.get(HEAD);
    // A key that was deleted by hand has an empty value.
    const head =
      entry === undefined || entry.data.length === 0
        ? undefined
        : parseHead(entry.data.toString(), this.name);
    return { head, revision: entry?.revision ?? 0 };
  }

  /** Finds what others have left behind. Those of a later epoch are of a process that has replaced this one. */
  async #sweep({ bucket, chunks, epoch }: Opened): Promise<void> {
    const named = new Set(chunks.chunks.map((chunk) => `${chunk.epoch}.${chunk.number}`));
    try {
      const listed = await bucket.listChunks();
      this.#throwAway(
        listed.filter((chunk) => chunk.epoch <= epoch && !named.has(`${chunk.epoch}.${chunk.number}`)),
      );
    } catch (error) {
      // Whoever had the state before has lost it by now: somebody has to go on with it.
      this.#tellRubbish(error);
    }
    await this.#collect({ bucket, chunks, epoch });
  }

  #discard({ written }: Plan): void {
    this.#throwAway(written.map(({ chunk }) => chunk));
  }

  #throwAway(chunks: readonly ChunkName[]): void {
    const named = this.#isGone ? chunks.map(nameOnly) : chunks;
    if (chunks.length > 0) this.#garbage = [...this.#garbage, ...named].slice(-MAX_GARBAGE);
  }

  async #collect({ bucket }: Opened): Promise<void> {
    const garbage = this.#garbage;
    if (garbage.length === 0) return;
    try {
      await bucket.removeChunks(garbage);
      this.#garbage = [];
    } catch (error) {
      this.#tellRubbish(error);
    }
  }

  /** It is in nobody's way, and tried again with the next commit or at the next start. */
  #tellRubbish(error: unknown): void {
    this.#options.log.debug("cannot take out what the state needs no more", {
      state: this.name,
      reason: natsReason(error),
    });
  }

  #replaced(): BridgeError {
    return new BridgeError("BEHEST_STATE_REPLACED", `${this.name}: replaced by a newer process`);
  }

  #failed(reason: string, cause?: unknown): BridgeError {
    return new BridgeError("BEHEST_STATE_COMMIT", `${this.name}: ${reason}`, { cause });
  }
}

function nameOnly({ epoch, number }: ChunkName): ChunkName {
  return { epoch, number };
}
