/*
 * Writes the dashboards: `node deploy/grafana/source/generate.ts`. A test holds the files in the repository
 * to what this writes.
 */
import { writeFileSync } from "node:fs";

import { agentRuns } from "./agent-runs.ts";
import { bridgeHealth } from "./bridge-health.ts";
import { tokens } from "./tokens.ts";

/** Every dashboard: its file in `deploy/grafana/dashboards`, and its whole text. */
export const DASHBOARDS: Readonly<Record<string, () => string>> = {
  "agent-runs.json": () => written(agentRuns()),
  "tokens.json": () => written(tokens()),
  "bridge-health.json": () => written(bridgeHealth()),
};

function written(board: object): string {
  return `${JSON.stringify(board, undefined, 2)}\n`;
}

if (import.meta.main) {
  for (const [file, text] of Object.entries(DASHBOARDS)) {
    writeFileSync(new URL(`../dashboards/${file}`, import.meta.url), text());
  }
}
