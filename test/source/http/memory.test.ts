import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import * as zlib from "node:zlib";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { until } from "../../bridge/turns.ts";
import type { Said } from "./listener.ts";
import { entrySize } from "../../state/journals.ts";
import { event, NDJSON, postOf, statuses } from "./served.ts";

const MIB = 1024 * 1024;
const LIMITS = { maxBodyBytes: 4 * MIB, maxReceivingBytes: 16 * MIB, maxWaitingBytes: 16 * MIB };
/** What the limits allow for, and garbage that waits to be collected: far below what every attack here sends. */
const ALLOWED_BYTES = LIMITS.maxReceivingBytes + LIMITS.maxWaitingBytes + 160 * MIB;

const ENCODERS = [
  ["gzip", zlib.gzipSync],
  ["deflate", zlib.deflateSync],
  ["br", zlib.brotliCompressSync],
  ["zstd", zlib.zstdCompressSync],
] as const;

let child: ChildProcess;
let url: string;
let sockets: Socket[];
let before: number;

async function said(): Promise<Said> {
  const [message] = (await once(child, "message")) as [Said];
  return message;
}

function tell(what: "read" | "measure"): Promise<Said> {
  const answer = said();
  child.send(what);
  return answer;
}

async function peakBytes(): Promise<number> {
  return ((await tell("measure")) as { peakBytes: number }).peakBytes;
}

async function post(body: string | Buffer<ArrayBuffer>, encoding = "identity"): Promise<number> {
  const headers = { ...NDJSON, "content-encoding": encoding };
  const answer = await fetch(`${url}/v1/events`, { method: "POST", body, headers });
  await answer.arrayBuffer();
  return answer.status;
}

/** A sender that goes on writing `part` for as long as the other end lets it, and keeps what comes back. */
function flood(head: string, part: Buffer, times: number): { readonly socket: Socket; text: string } {
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  const one = { socket, text: "" };
  sockets.push(socket);
  socket.setEncoding("latin1").on("data", (text: string) => (one.text += text));
  socket.on("error", () => {});
  socket.write(head);
  let left = times;
  const write = () => {
    while (left > 0) {
      left -= 1;
      if (!socket.write(part)) return void socket.once("drain", write);
    }
  };
  write();
  return one;
}

describe.each([
  { deposit: "memory", journal: [], bytesOfEvent: event().length + 1 },
  {
    deposit: "a journal",
    journal: [String(LIMITS.maxWaitingBytes)],
    bytesOfEvent: entrySize(event()),
  },
])("into $deposit,", ({ journal, bytesOfEvent }) => {
  beforeEach(async () => {
    sockets = [];
    child = fork(join(import.meta.dirname, "listener.ts"), [JSON.stringify(LIMITS), ...journal], {
      execArgv: [],
    });
    const { port } = (await said()) as { port: number };
    url = `http://127.0.0.1:${port}`;
    // Whatever is loaded or made once is there from here on.
    for (let n = 0; n < 50; n += 1) {
      if ((await post(event(n))) !== 202) throw new Error("the source does not take events");
    }
    await tell("read");
    before = await peakBytes();
  });
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    child.kill();
  });

  test("four hundred senders that stop in the middle of long bodies hold what is allowed, and others are served", async () => {
    const head = postOf("", { ...NDJSON, "content-length": String(LIMITS.maxBodyBytes) });
    const slow = Array.from({ length: 400 }, () => flood(head, Buffer.alloc(64 * 1024, "\n"), 16));
    const refused = () => slow.filter(({ text }) => statuses(text).includes(429)).length;
    // 400 MiB were sent, and 16 may be held.
    await until(() => refused() >= 300, "most were refused");
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    expect(await peakBytes()).toBeLessThan(before + ALLOWED_BYTES);
    for (const { socket } of slow) socket.destroy();
    let status = 429;
    for (let tries = 0; status === 429 && tries < 1_000; tries += 1) status = await post(event());
    expect(status).toBe(202);
  });

  test("bodies in a million chunks of one byte cost their bytes", async () => {
    const head = postOf("", { ...NDJSON, "content-length": "", "transfer-encoding": "chunked" });
    const chunks = Buffer.from("1\r\nx\r\n".repeat(10_000));
    const senders = Array.from({ length: 20 }, () => flood(head, chunks, 50));
    const sent = () => senders.every(({ socket }) => socket.bytesWritten >= head.length + 50 * chunks.length);
    await until(sent, "all chunks were sent");
    expect(await post(event())).toBe(202);
    expect(await peakBytes()).toBeLessThan(before + ALLOWED_BYTES);
  });

  // What they are inflated to is refused before it gets anywhere.
  test.each(journal.length > 0 ? ENCODERS.slice(0, 1) : ENCODERS)(
    "a hundred bombs of %s at once cost what is allowed, and others are served",
    async (name, encode) => {
      const bomb = encode(Buffer.alloc(32 * MIB, "\n"));
      expect(bomb.length).toBeLessThan(LIMITS.maxBodyBytes);
      const bombs = Array.from({ length: 100 }, () => post(Buffer.from(bomb), name));
      const served = post(event());
      const answers = await Promise.all(bombs);
      expect(answers.filter((status) => status !== 413 && status !== 429)).toEqual([]);
      expect(answers).toContain(413);
      // With the room taken by bombs another body may be put off, but it is answered.
      expect([202, 429]).toContain(await served);
      expect(await post(event())).toBe(202);
      expect(await peakBytes()).toBeLessThan(before + ALLOWED_BYTES);
    },
  );

  test("what nobody reads is refused when there is no room, and all that was taken is handed out", async () => {
    let taken = 0;
    // When the large ones do not fit any more smaller ones do for a while, and then none does.
    for (const count of [5_000, 100, 1]) {
      const body = Buffer.from(zlib.gzipSync(`${event()}\n`.repeat(count)));
      for (let status = 202; status !== 429; taken += status === 202 ? count : 0) {
        status = await post(body, "gzip");
        expect([202, 429]).toContain(status);
      }
    }
    expect(taken * bytesOfEvent).toBeGreaterThan(0.99 * LIMITS.maxWaitingBytes);
    expect(await tell("read")).toEqual({ read: taken });
    expect(await peakBytes()).toBeLessThan(before + ALLOWED_BYTES);
    expect(await post(event())).toBe(202);
  });

  test("a sender that never reads its answers is not read for ever either", async () => {
    const requests = Buffer.from(postOf(`x\n`.repeat(200), NDJSON).repeat(50));
    const deaf = flood("", requests, 4_000);
    deaf.socket.pause();
    let last = -1;
    // Until no more goes out, because nothing more is taken.
    for (let same = 0; same < 50; same = deaf.socket.bytesWritten === last ? same + 1 : 0) {
      last = deaf.socket.bytesWritten;
      expect([202, 429]).toContain(await post(event()));
    }
    expect(deaf.socket.bytesWritten).toBeLessThan(4_000 * requests.length);
    expect(await peakBytes()).toBeLessThan(before + ALLOWED_BYTES);
  });
});
