import type { KV, KvOptions } from "@nats-io/kv";

import { apiCode, STREAM_NOT_FOUND } from "./answer.ts";
import type { Chunk } from "./chunk-log.ts";
import { REQUEST_TIMEOUT_MS, type Linked, type NatsLink } from "./link.ts";

/** A value and the number of its last change. */
export interface Entry {
  readonly data: Buffer;
  readonly revision: number;
}

/** Enough of a chunk to take it out. */
export interface ChunkName extends Pick<Chunk, "epoch" | "number"> {
  /** Where its values stand; undefined when that is not known. */
  readonly revisions?: readonly (number | undefined)[];
  /** It may have values beside those: they were put, and no answer came. */
  readonly mayBeMore?: boolean;
}

/** Requests under way at once. */
const WINDOW = 8;
/** Longest value. */
const MAX_VALUE_BYTES = 512 * 1024;
/** What a value needs around it within the server's limit of a message. */
const OVERHEAD_BYTES = 4 * 1024;
const MIN_VALUE_BYTES = 64 * 1024;

/** The bucket of a stream: names that the stream may have and a bucket may not are spelled out. */
export function bucketOf(stream: string): string {
  return `behest-otel-${stream.replaceAll(/[^\w-]/g, (char) => `_${char.codePointAt(0)?.toString(16)}_`)}`;
}

export interface BucketNames {
  readonly bucket: string;
  /** Begins every key. */
  readonly owner: string;
  readonly replicas: number;
}

/** Values of one owner in a key-value bucket of JetStream, which others may share. */
export class OwnedBucket {
  /** Longest value that may be put, in bytes. */
  readonly maxValueBytes: number;
  readonly #link: NatsLink;
  readonly #linked: Linked;
  readonly #names: BucketNames;
  readonly #kv: KV;
  readonly #stream: string;
  readonly #subject: string;

  private constructor(
    link: NatsLink,
    linked: Linked,
    options: { readonly names: BucketNames; readonly kv: KV; readonly maxValueBytes: number },
  ) {
    const { names, kv, maxValueBytes } = options;
    this.#link = link;
    this.#linked = linked;
    this.#names = names;
    this.#kv = kv;
    this.#stream = `KV_${names.bucket}`;
    this.#subject = `$KV.${names.bucket}.${names.owner}`;
    this.maxValueBytes = maxValueBytes;
  }

  /** Opens the bucket; makes it when it does not exist. Rejects with the client's errors. */
  static async open(link: NatsLink, linked: Linked, names: BucketNames): Promise<OwnedBucket> {
    return new OwnedBucket(link, linked, { names, ...(await openBucket(link, linked, names)) });
  }

  /** Opens the bucket; undefined when it does not exist. Rejects with the client's errors. */
  static async find(link: NatsLink, linked: Linked, names: BucketNames): Promise<OwnedBucket | undefined> {
    try {
      await link.ask(() => linked.manager.streams.info(`KV_${names.bucket}`));
    } catch (error) {
      if (apiCode(error) === STREAM_NOT_FOUND) return undefined;
      throw error;
    }
    return OwnedBucket.open(link, linked, names);
  }

  /** Makes it again when it is gone. */
  async reopen(): Promise<void> {
    await openBucket(this.#link, this.#linked, this.#names);
  }

  /** What stands under the key now, for whoever asks its leader. */
  async get(key: string): Promise<Entry | undefined> {
    const { streams } = this.#linked.manager;
    // A server of 2.9 crashes when it is asked for a value of a bucket that it is just making for somebody else.
    const info = await this.#ifThere(() => streams.info(this.#stream));
    return info === null || info.state.last_seq === 0 ? undefined : this.#read(key);
  }

  /** As `get`, of a bucket that is known to have been put into. */
  async #read(key: string): Promise<Entry | undefined> {
    const query = { last_by_subj: `${this.#subject}.${key}` };
    const { streams } = this.#linked.manager;
    const stored = await this.#ifThere(() => streams.getMessage(this.#stream, query));
    if (stored === null) return undefined;
    const { buffer, byteOffset, length } = stored.data;
    return { data: Buffer.from(buffer, byteOffset, length), revision: stored.seq };
  }

  /** Null when there is no bucket any more. */
  async #ifThere<T>(request: () => Promise<T>): Promise<T | null> {
    try {
      return await this.#link.ask(request);
    } catch (error) {
      if (apiCode(error) !== STREAM_NOT_FOUND) throw error;
      return null;
    }
  }

  /** Puts a value if the last change of the key is still `revision` (0: there was none). Gives the new revision. */
  async compareAndSet(key: string, value: string, revision: number): Promise<number> {
    const options = { previousSeq: revision, timeout: REQUEST_TIMEOUT_MS };
    return this.#link.ask(() => this.#kv.put(`${this.#names.owner}.${key}`, Buffer.from(value), options));
  }

  /** Puts the chunks, and notes in each where its values stand: of as many as were put when it rejects. */
  async putChunks(chunks: readonly { readonly chunk: Chunk; readonly text: Buffer }[]): Promise<void> {
    const values = chunks.flatMap(({ chunk, text }) =>
      Array.from({ length: Math.ceil(text.length / this.maxValueBytes) }, (_, part) => ({
        chunk,
        part,
        data: text.subarray(part * this.maxValueBytes, (part + 1) * this.maxValueBytes),
      })),
    );
    await inWindow(values, async ({ chunk, part, data }) => {
      const key = `${this.#names.owner}.${chunkKey(chunk)}.${part}`;
      const put = () => this.#kv.put(key, data, { timeout: REQUEST_TIMEOUT_MS });
      chunk.revisions[part] = await this.#link.ask(put);
    });
  }

  async getChunk(chunk: Chunk): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let part = 0; part < chunk.revisions.length; part += 1) {
      const entry = await this.#read(`${chunkKey(chunk)}.${part}`);
      if (entry === undefined) throw new Error(`the value ${chunkKey(chunk)}.${part} is gone`);
      parts.push(entry.data);
    }
    const text = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
    if (text.length === chunk.bytes) return text;
    throw new Error(`the value ${chunkKey(chunk)} has ${text.length} bytes, expected ${chunk.bytes}`);
  }

  /**
   * Takes chunks out for good: a deletion in terms of the bucket would leave a marker of each behind for ever.
   * Those whose place is not known are purged, which servers before 2.10 do not take off what the account uses.
   */
  async removeChunks(chunks: readonly ChunkName[]): Promise<void> {
    await inWindow(chunks, async (chunk) => {
      const { streams } = this.#linked.manager;
      try {
        if (chunk.revisions === undefined) throw new Error("its place is not known");
        for (const revision of chunk.revisions.filter((one) => one !== undefined)) {
          await this.#link.ask(() => streams.deleteMessage(this.#stream, revision, false));
        }
        if (chunk.mayBeMore !== true) return;
      } catch {
        // A bucket made by others may not allow it, and it may have been done before.
      }
      const filter = `${this.#subject}.${chunkKey(chunk)}.>`;
      await this.#link.ask(() => streams.purge(this.#stream, { filter }));
    });
  }

  /** Every chunk that there is, named by any head or by none. */
  async listChunks(): Promise<ChunkName[]> {
    const filter = `${this.#subject}.c.>`;
    const { state } = await this.#link.ask(() =>
      this.#linked.manager.streams.info(this.#stream, { subjects_filter: filter }),
    );
    const listed = new Map<string, ChunkName>();
    for (const subject of Object.keys(state.subjects ?? {})) {
      const [epoch, number] = subject.slice(filter.length - 1).split(".");
      listed.set(`${epoch}.${number}`, { epoch: Number(epoch), number: Number(number) });
    }
    return [...listed.values()];
  }
}

async function openBucket(
  link: NatsLink,
  linked: Linked,
  { bucket, replicas }: BucketNames,
): Promise<{ readonly kv: KV; readonly maxValueBytes: number }> {
  const { Kvm } = await import("@nats-io/kv");
  const options: Partial<KvOptions> = {
    description: "State of behest-otel",
    history: 1,
    storage: "file",
    replicas,
    // A read that any replica answers may be older than what was written before it.
    allow_direct: false,
  };
  const kv = await link.make(() => new Kvm(linked.jetstream).create(bucket, options));
  const { config } = await link.ask(() => linked.manager.streams.info(`KV_${bucket}`));
  if (config.max_age > 0) {
    throw new Error("the bucket lets its values expire; expected one without a time to live");
  }
  const limits = [config.max_msg_size, linked.connection.info?.max_payload];
  const least = Math.min(...limits.map((limit) => (limit === undefined || limit <= 0 ? Infinity : limit)));
  const maxValueBytes = Math.min(MAX_VALUE_BYTES, least - OVERHEAD_BYTES);
  if (maxValueBytes >= MIN_VALUE_BYTES) return { kv, maxValueBytes };
  const expected = MIN_VALUE_BYTES + OVERHEAD_BYTES;
  throw new Error(`takes values of ${least} bytes at most (max_payload); expected at least ${expected}`);
}

function chunkKey({ epoch, number }: ChunkName): string {
  return `c.${epoch}.${number}`;
}

/** Does it for all of them, some at once, until one fails. Rejects with that when none is under way any more. */
async function inWindow<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  const left = all.toReversed();
  const worker = async () => {
    for (let one = left.pop(); one !== undefined; one = left.pop()) {
      await work(one).catch((error: unknown) => {
        left.length = 0;
        throw error;
      });
    }
  };
  const results = await Promise.allSettled(Array.from({ length: WINDOW }, worker));
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
