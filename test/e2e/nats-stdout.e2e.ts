import { afterEach, expect, test } from "vitest";

import { start, type Started } from "../cli/program.ts";
import { NatsServer } from "./nats-server.ts";
import { Cable } from "./redis-server.ts";

let program: Started | undefined;
afterEach(() => program?.child.kill("SIGKILL"));

test(
  "a server whose words the client cannot read leaves stdout empty, and is read again",
  { timeout: 60_000 },
  async () => {
    await using server = await NatsServer.start("");
    await using cable = await Cable.to(server.port);
    program = start({
      args: ["run", "--from", `nats://127.0.0.1:${cable.port}?mode=core`],
      env: { OTEL_TRACES_EXPORTER: "none", OTEL_METRICS_EXPORTER: "none" },
    });
    await program.says("taking events");
    let isSpoilt = false;
    cable.answer = (sent) => {
      if (isSpoilt || !sent.includes("PING")) return undefined;
      isSpoilt = true;
      return "NO PROTOCOL\r\n";
    };
    await program.says("reader closed");
    await program.says("connected to NATS again");
    program.child.kill("SIGTERM");
    const { status, stdout, stderr } = await program.ended;
    expect([status, stdout]).toEqual([0, ""]);
    expect(stderr).toMatch(/WARN {2}A package wrote to the console text="reader closed/);
  },
);
