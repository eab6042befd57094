import { afterEach, beforeEach } from "vitest";

import { startHttpBackend, take, type HttpAct, type OtlpServer } from "../otel/otlp-server.ts";
import { start, type Call, type Started } from "./program.ts";

// A backend for each test of a file, and the lives of the program, none of which outlives its test.

export let backend: OtlpServer;
let onRequest: () => HttpAct;
let lives: Started[];
beforeEach(async () => {
  onRequest = () => take;
  lives = [];
  backend = await startHttpBackend(() => onRequest());
});
afterEach(async () => {
  for (const { child } of lives) child.kill("SIGKILL");
  await backend.close();
});

/** What the backend does with every request from now on; at first it takes all. */
export function answerWith(act: () => HttpAct): void {
  onRequest = act;
}

export function startLife(call: Call): Started {
  const life = start(call);
  lives.push(life);
  return life;
}
