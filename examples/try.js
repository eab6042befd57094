// What `npm start` does: shows two recorded runs, and says how to go on.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const recordings = ["parallel-tools", "token-budget"].map((name) =>
  here(`test/fixtures/recordings/0.5.9/${name}.ndjson`),
);

const { status } = spawnSync(process.execPath, [here("dist/bin.js"), "view", ...recordings], {
  stdio: "inherit",
});
process.exitCode = status ?? 1;
if (status === 0) {
  process.stderr.write(`
These were two recorded runs. To go on:
  node dist/bin.js view FILE     your own events, one JSON object per line
  node dist/bin.js run --help    send them to an OTLP endpoint as they come
`);
}
