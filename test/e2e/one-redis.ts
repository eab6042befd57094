import { afterAll, beforeAll, beforeEach } from "vitest";

import { RedisServer } from "./redis-server.ts";

// A server for the tests of a file, empty before each.

export let server: RedisServer;
beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await server.ask("FLUSHALL");
});
