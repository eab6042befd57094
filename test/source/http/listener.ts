/*
 * A source in a process of its own, whose memory can be measured. It is told over its channel what to do:
 * "read" reads all that waits, "measure" answers with the most bytes the process ever had.
 */
import type { HttpLimits } from "../../../src/source/http/limits.ts";
import { serve } from "./served.ts";

export type Said = { readonly port: number } | { readonly read: number } | { readonly peakBytes: number };

const limits = JSON.parse(process.argv[2] ?? "{}") as Partial<HttpLimits>;
const served = await serve({ limits });
const say = (said: Said) => process.send?.(said);

process.on("message", (what) => {
  if (what === "measure") say({ peakBytes: process.resourceUsage().maxRSS * 1_024 });
  else void served.waiting().then(({ length }) => say({ read: length }));
});
process.on("disconnect", () => process.exit());
say({ port: served.port });
