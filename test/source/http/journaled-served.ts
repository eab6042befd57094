import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { systemClock } from "../../../src/clock.ts";
import { httpInflow } from "../../../src/source/http/inflow.ts";
import type { HttpLimits } from "../../../src/source/http/limits.ts";
import { journaledInput } from "../../../src/source/journaled.ts";
import type { Delivery } from "../../../src/source/source.ts";
import { keptLog } from "../reader.ts";
import { Served, specOf } from "./served.ts";

/** A source that listens on a free port and puts what comes into a journal, in a directory of its own. */
export interface JournaledServed {
  readonly served: Served;
  /** Says of everything that was read that it was used. */
  readonly commit: (deliveries: readonly Delivery[]) => Promise<void>;
  readonly close: () => Promise<void>;
}

export async function serveJournaled(
  limits: Partial<HttpLimits>,
  maxBytes: number,
): Promise<JournaledServed> {
  const { log, lines } = keptLog();
  const stateDir = mkdtempSync(join(tmpdir(), "behest-otel-http-served-"));
  const protection = { token: undefined, insecureListen: false };
  const inflow = httpInflow(specOf("http://127.0.0.1:0"), {
    protection,
    clock: systemClock,
    log,
    maxBytes,
    limits,
  });
  const options = { stateDir, stateName: "http", clock: systemClock, log, maxBytes };
  const { source, store } = journaledInput(inflow, options);
  await source.prepare?.();
  await store.open();
  await source.open();
  const served = new Served(source, lines);
  return {
    served,
    commit: async (deliveries) => {
      const position = source.positionOf(deliveries.at(-1)?.id ?? "", []);
      const used = deliveries.map(({ id }) => id);
      await store.commit({ puts: new Map([["position", position]]), removes: [], used });
    },
    close: async () => {
      await served.close();
      await store.close();
      rmSync(stateDir, { recursive: true });
    },
  };
}
