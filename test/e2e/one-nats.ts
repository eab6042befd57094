import { afterAll, beforeAll, beforeEach } from "vitest";

import { NatsServer } from "./nats-server.ts";

// A server for the tests of a file, empty before each.

export let server: NatsServer;
beforeAll(async () => {
  server = await NatsServer.start();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await server.clear();
});
