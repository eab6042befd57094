// What `npm run stack` does: starts the stack of docker-compose.yml, sends it recorded runs, says where to look.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const recordings = ["parallel-tools", "doom-loop", "provider-error-late"].map((name) =>
  here(`test/fixtures/recordings/0.5.9/${name}.ndjson`),
);

if (spawnSync("docker", ["compose", "version"], { stdio: "ignore" }).status !== 0) {
  process.stderr.write(
    "the stack needs docker with its compose plugin, and `docker compose version` fails here\n",
  );
  process.stderr.write("npm start shows the same runs without it\n");
  process.exit(1);
}
run("docker", ["compose", "--file", here("docker-compose.yml"), "up", "--detach", "--wait"]);
run(process.execPath, [here("dist/bin.js"), "replay", "--metrics", ...recordings]);

const [line] = readFileSync(recordings[0], "utf8").split("\n");
const trace = JSON.parse(line).RunStarted.run_id.replaceAll("-", "");
process.stderr.write(`
One of the runs as a trace:  http://localhost:16686/trace/${trace}
Dashboards:                  http://localhost:3000
Alert rules:                 http://localhost:9090/alerts
`);

function run(command, args) {
  const { status } = spawnSync(command, args, { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
