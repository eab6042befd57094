import { readFile } from "node:fs/promises";
import type { ConnectionOptions } from "node:tls";

import type { Clock } from "../../clock.ts";
import { systemReason } from "../../errors.ts";
import { LostConnection, lost, movedTo, Refusal } from "./refusal.ts";
import { listOf, textOf, type Reply } from "./reply.ts";
import { addressText, type Address, type RedisSpec } from "./url.ts";

export type Command = readonly (string | Buffer)[];

export interface LinkOptions {
  readonly spec: RedisSpec;
  readonly password: string | undefined;
  readonly sentinelPassword: string | undefined;
  readonly clock: Clock;
}

/** Longest wait for an answer that is no commit, in milliseconds: beyond it the server is taken for lost. */
const ANSWER_MS = 10_000;
/** Moves of a slot that are followed at once. */
const MAX_MOVES = 5;

/** What is used of the client; one is used for one connection and never connects again by itself. */
interface Client {
  readonly isReady: boolean;
  connect(): Promise<unknown>;
  sendCommand(command: Command, options: { readonly typeMapping: object }): Promise<unknown>;
  destroy(): void;
  on(event: "error", told: () => void): unknown;
}

interface Credentials {
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/**
 * One connection to the server that has the stream, made again when asked to: through Sentinel or by the
 * redirections of a cluster it goes to where the stream is now.
 */
export class Link {
  readonly #options: LinkOptions;
  #client: Client | undefined;
  #address: Address | undefined;
  /** Where the last redirection led, while it is to be tried first. */
  #moved: Address | undefined;
  #closed = false;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  get isUp(): boolean {
    return this.#client?.isReady === true;
  }

  /** Rejects with a `Refusal` (of the credentials) or `LostConnection`, which say the address. */
  async connect(): Promise<void> {
    this.drop();
    const { spec, password } = this.#options;
    const credentials = { username: spec.username, password: spec.password ?? password };
    let failure: Error = new LostConnection("no server is named");
    for (const address of await this.#candidates()) {
      const client = await this.#make(address, credentials, spec.database);
      try {
        await this.#within(client.connect(), ANSWER_MS, client);
        if (this.#closed) client.destroy();
        this.#client = client;
        this.#address = address;
        return;
      } catch (error) {
        client.destroy();
        failure = await at(address, error);
      }
    }
    this.#moved = undefined;
    throw failure;
  }

  /** Rejects with a `Refusal` or `LostConnection`; after the latter nothing is known of what was asked. */
  async ask(command: Command, withinMs = ANSWER_MS): Promise<Reply> {
    const client = this.#connected();
    const [reply] = await this.#within(replies(client, [command]), withinMs, client);
    if (reply instanceof Refusal) throw this.#heed(reply);
    return reply ?? null;
  }

  /**
   * Runs the commands as one, or none of them: then undefined when a watched key was changed, and a
   * `Refusal` with the server's first word when one was not even taken. Commands that fail when they run
   * have their refusal in their place.
   */
  async transaction(
    commands: readonly Command[],
    withinMs = ANSWER_MS,
  ): Promise<readonly Reply[] | undefined> {
    const client = this.#connected();
    const all = await this.#within(replies(client, [["MULTI"], ...commands, ["EXEC"]]), withinMs, client);
    const executed = all.at(-1);
    if (executed instanceof Refusal) {
      const refused = all.find((reply) => reply instanceof Refusal) ?? executed;
      throw this.#heed(refused);
    }
    return executed === null || executed === undefined ? undefined : listOf(executed);
  }

  /** Runs `work` on a connection, and again where the stream has moved to. */
  async following<T>(work: () => Promise<T>): Promise<T> {
    for (let moves = 0; ; moves += 1) {
      if (!this.isUp) await this.connect();
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof Refusal && error.word === "MOVED") || moves >= MAX_MOVES) throw error;
      }
    }
  }

  drop(): void {
    this.#client?.destroy();
    this.#client = undefined;
  }

  close(): void {
    this.#closed = true;
    this.drop();
  }

  #connected(): Client {
    const client = this.#client;
    if (client?.isReady !== true || this.#closed) throw new LostConnection("there is no connection");
    return client;
  }

  #heed(refusal: Refusal): Refusal {
    const moved = this.#address && movedTo(refusal, this.#address);
    if (moved !== undefined) {
      this.#moved = moved;
      this.drop();
    }
    return refusal;
  }

  async #candidates(): Promise<Address[]> {
    const { nodes, sentinel } = this.#options.spec;
    if (sentinel !== undefined) return [await this.#askSentinels(sentinel)];
    return this.#moved === undefined ? [...nodes] : [this.#moved, ...nodes];
  }

  /** Asks one sentinel after the other, as their protocol has it (Redis documentation, Sentinel clients). */
  async #askSentinels(master: string): Promise<Address> {
    const { spec, sentinelPassword } = this.#options;
    let failure: Error | undefined;
    for (const node of spec.nodes) {
      const client = await this.#make(node, { username: undefined, password: sentinelPassword }, 0);
      try {
        await this.#within(client.connect(), ANSWER_MS, client);
        const asking = replies(client, [["SENTINEL", "GET-MASTER-ADDR-BY-NAME", master]]);
        const [reply] = await this.#within(asking, ANSWER_MS, client);
        if (reply instanceof Refusal) throw reply;
        const [host, port] = listOf(reply).map(textOf);
        if (host !== undefined && port !== undefined) return { host, port: Number(port) };
        failure = new LostConnection(`${addressText(node)}: the sentinel knows no master of that name`);
      } catch (error) {
        failure = await at(node, error);
      } finally {
        client.destroy();
      }
    }
    throw failure ?? new LostConnection("no sentinel is named");
  }

  async #make(
    { host, port }: Address,
    { username, password }: Credentials,
    database: number,
  ): Promise<Client> {
    const { createClient } = await import("redis");
    const tls = await this.#tls();
    const client: Client = createClient({
      RESP: 2,
      socket: { host, port, reconnectStrategy: false, connectTimeout: ANSWER_MS, ...tls },
      ...(password === undefined ? {} : { password, ...(username === undefined ? {} : { username }) }),
      database,
      disableOfflineQueue: true,
      disableClientInfo: true,
      maintNotifications: "disabled",
    });
    // Whatever it says there, the command under way says as well.
    client.on("error", () => {});
    return client;
  }

  /** Read anew each time: certificates are changed while a program runs. */
  async #tls(): Promise<(ConnectionOptions & { tls: true }) | undefined> {
    const { tls } = this.#options.spec;
    if (tls === undefined) return undefined;
    const [ca, cert, key] = await Promise.all([tls.caFile, tls.certFile, tls.keyFile].map(readPem));
    return { tls: true, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  }

  /** A server that says nothing for so long has its connection ended, which ends everything asked on it. */
  async #within<T>(answer: Promise<T>, ms: number, client: Client): Promise<T> {
    let giveUp = () => {};
    const patience = new Promise<never>((_, reject) => {
      giveUp = this.#options.clock.after(ms, () => {
        reject(new LostConnection(`no answer within ${ms / 1000} s`));
        client.destroy();
      });
    });
    try {
      return await Promise.race([answer, patience]);
    } finally {
      giveUp();
    }
  }
}

/** Sends all at once and gives what each is answered; rejects when one has no answer. */
async function replies(client: Client, commands: readonly Command[]): Promise<Reply[]> {
  const { ErrorReply, RESP_TYPES } = await import("redis");
  const options = { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } };
  const sent = commands.map((command) => client.sendCommand(command, options));
  const settled = await Promise.allSettled(sent);
  return settled.map((one) => {
    if (one.status === "fulfilled") return withRefusals(one.value, ErrorReply);
    if (one.reason instanceof ErrorReply) return new Refusal(one.reason.message);
    throw lost(one.reason);
  });
}

/** Only the answer to `EXEC` has refusals in it, and those right there. */
function withRefusals(value: unknown, errorReply: new () => Error): Reply {
  if (!Array.isArray(value)) return value as Reply;
  return value.map((one: unknown) => (one instanceof errorReply ? new Refusal(one.message) : (one as Reply)));
}

async function at(address: Address, error: unknown): Promise<Error> {
  const { ErrorReply } = await import("redis");
  const place = addressText(address);
  if (error instanceof ErrorReply || error instanceof Refusal) return new Refusal(error.message, place);
  return new LostConnection(`${place}: ${lost(error).message}`, { cause: error });
}

async function readPem(file: string | undefined): Promise<Buffer | undefined> {
  if (file === undefined) return undefined;
  try {
    return await readFile(file);
  } catch (error) {
    throw new LostConnection(`${file} ${systemReason(error)}`, { cause: error });
  }
}
