// What `npm start` does: shows recorded runs, and says how to go on.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const recordings = ["parallel-tools", "doom-loop", "provider-error-late"].map((name) =>
  here(`test/fixtures/recordings/0.5.9/${name}.ndjson`),
);

const { status } = spawnSync(process.execPath, [here("dist/bin.js"), "view", ...recordings], {
  stdio: "inherit",
});
process.exitCode = status ?? 1;
if (status === 0) {
  process.stderr.write(`
These were three recorded runs. To go on:
  npx behest-otel view FILE     your own events, one JSON object per line
  npx behest-otel run --help    send them to an OTLP endpoint as they come
`);
}
