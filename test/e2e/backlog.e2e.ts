import { connect, createServer, type AddressInfo, type Socket } from "node:net";

import { describeBacklog, type TimedBroker } from "./backlog.ts";
import { startNats } from "./nats-broker.ts";
import { SUBJECT } from "./nats-server.ts";
import { startRedis } from "./redis-broker.ts";
import { STREAM } from "./redis-server.ts";

describeBacklog("Redis", startTimedRedis);
describeBacklog("NATS JetStream", startTimedNats);

/** The time is in the id, which whoever appends may choose. */
async function startTimedRedis(): Promise<TimedBroker> {
  const broker = await startRedis();
  return {
    ...broker,
    append: (entries) =>
      Promise.all(
        entries.map(({ atMs, line }, index) =>
          broker.server.ask("XADD", STREAM, `${atMs}-${index}`, "event", line),
        ),
      ),
  };
}

/** The time is the server's own: the bridge reads through a line on which it is another one. */
async function startTimedNats(): Promise<TimedBroker> {
  const broker = await startNats();
  /** By sequence, from 1 on: nobody else appends anything. */
  const times = [0];
  const line = await TimedLineToNats.to(broker.server.port, (sequence) => times[sequence] ?? 0);
  return {
    from: (group) => broker.from(group).replace(`:${broker.server.port}`, `:${line.port}`),
    left: broker.left,
    append: (entries) => {
      times.push(...entries.map(({ atMs }) => atMs));
      return Promise.all(entries.map((entry) => broker.server.jetstream.publish(SUBJECT, entry.line)));
    },
    async [Symbol.asyncDispose]() {
      await line[Symbol.asyncDispose]();
      await broker[Symbol.asyncDispose]();
    },
  };
}

/** Sequence in the stream, sequence of the delivery, nanoseconds since 1970: near the end of the subject to reply to. */
const REPLY = /(\$JS\.ACK\.\S*?\.)(\d+)(\.\d+\.)\d{19}(?=\.\d)/g;
const LINE_END = "\r\n";

/** A way to a server on which its messages were appended at other times. */
class TimedLineToNats {
  readonly port: number;
  readonly #server: ReturnType<typeof createServer>;
  readonly #sockets = new Set<Socket>();

  private constructor(server: ReturnType<typeof createServer>) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
  }

  static async to(target: number, msOf: (sequence: number) => number): Promise<TimedLineToNats> {
    const server = createServer();
    await new Promise<void>((resolve) => {
      server.listen(0, "127.0.0.1", resolve);
    });
    const line = new TimedLineToNats(server);
    server.on("connection", (near) => line.#join(near, connect(target, "127.0.0.1"), msOf));
    return line;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }

  #join(near: Socket, far: Socket, msOf: (sequence: number) => number): void {
    for (const socket of [near, far]) {
      this.#sockets.add(socket.on("error", () => {}));
      socket.on("close", () => [near, far].forEach((one) => one.destroy()));
    }
    near.pipe(far);
    // Everything that a server says ends with the end of a line, and until then may be half a number.
    let rest = "";
    far.on("data", (data) => {
      const text = rest + data.toString("latin1");
      const end = text.lastIndexOf(LINE_END) + LINE_END.length;
      if (end < LINE_END.length) return void (rest = text);
      rest = text.slice(end);
      const timed = text
        .slice(0, end)
        .replace(REPLY, (_, head: string, sequence: string, delivered: string) => {
          return `${head}${sequence}${delivered}${msOf(Number(sequence))}000000`;
        });
      near.write(timed, "latin1");
    });
  }
}
