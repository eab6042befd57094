/*
 * A source in a process of its own, whose memory can be measured; with a number behind its limits one that
 * puts what comes into a journal of so many bytes. It is told over its channel what to do: "read" reads all that
 * waits, and says of it that it was used; "measure" answers with the most bytes the process ever had.
 */
import type { HttpLimits } from "../../../src/source/http/limits.ts";
import { serveJournaled } from "./journaled-served.ts";
import { serve } from "./served.ts";

export type Said = { readonly port: number } | { readonly read: number } | { readonly peakBytes: number };

const limits = JSON.parse(process.argv[2] ?? "{}") as Partial<HttpLimits>;
const journalBytes = Number(process.argv[3] ?? 0);
const journaled = journalBytes > 0 ? await serveJournaled(limits, journalBytes) : undefined;
const served = journaled?.served ?? (await serve({ limits }));
const say = (said: Said) => process.send?.(said);

process.on("message", (what) => {
  if (what === "measure") say({ peakBytes: process.resourceUsage().maxRSS * 1_024 });
  else void read().then((count) => say({ read: count }));
});
process.on("disconnect", () => void (journaled?.close() ?? Promise.resolve()).finally(() => process.exit()));
say({ port: served.port });

async function read(): Promise<number> {
  const deliveries = await served.waiting();
  await journaled?.commit(deliveries);
  return deliveries.length;
}
