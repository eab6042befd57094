import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { readCompose } from "./compose-checks.ts";

const ROOT = join(import.meta.dirname, "../..");

/** The instructions of the Dockerfile in their order, continued lines joined. */
const instructions = readFileSync(join(ROOT, "Dockerfile"), "utf8")
  .replace(/^#.*\n/gm, "")
  .replace(/\\\n\s*/g, "")
  .split("\n")
  .filter((line) => line !== "")
  .map((line) => {
    const [, name = "", rest = ""] = /^(\w+) (.*)$/.exec(line) ?? [];
    return { name, rest };
  });

function all(name: string): string[] {
  return instructions.filter((instruction) => instruction.name === name).map(({ rest }) => rest);
}

/** What an instruction runs, which must be written without a shell. */
function exec(name: string): string[] {
  const [text = ""] = all(name);
  return JSON.parse(text.replace(/^.*?(?=\[)/, "")) as string[];
}

/** What `.dockerignore` lets through. */
const context = readFileSync(join(ROOT, ".dockerignore"), "utf8")
  .split("\n")
  .filter((line) => line.startsWith("!"))
  .map((line) => line.slice(1));

test("the image is built and run with the Node.js of this repository", () => {
  const images = all("FROM").map((from) => from.split(" ")[0]);
  expect(images.length).toBe(2);
  expect(new Set(images)).toEqual(new Set([`node:${packageJson.devDependencies.node}-bookworm-slim`]));
});

test("what is copied from the repository is there, and nothing else is sent to the build", () => {
  const copied = all("COPY")
    .filter((copy) => !copy.startsWith("--from="))
    .flatMap((copy) => copy.split(" ").slice(0, -1));
  expect(copied.toSorted()).toEqual(context.toSorted());
  expect(copied.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  expect(readFileSync(join(ROOT, ".dockerignore"), "utf8")).toMatch(/^\*$/m);
});

test("the program is run without a shell and without rights", () => {
  expect(exec("ENTRYPOINT")).toEqual(["node", "/opt/behest-otel/dist/bin.js"]);
  expect(exec("CMD")).toEqual(["--help"]);
  expect(all("USER")).toEqual(["1000:1000"]);
  expect(instructions.findIndex(({ name }) => name === "USER")).toBeLessThan(
    instructions.findIndex(({ name }) => name === "ENTRYPOINT"),
  );
});

test("health is asked for where the program answers, and both ports are exposed", () => {
  const [env = ""] = all("ENV");
  const [, port = ""] = /^BEHEST_OTEL_HEALTH=0\.0\.0\.0:(\d+)$/.exec(env) ?? [];
  expect(exec("HEALTHCHECK").at(-1)).toContain(`http://127.0.0.1:${port}/healthz`);
  const { ports = [] } = readCompose(join(ROOT, "docker-compose.yml")).services["bridge"] ?? {};
  expect(all("EXPOSE")).toEqual([ports.map((published) => published.split(":").at(-1)).join(" ")]);
});

test("the check of health tells a bridge that answers from one that is broken or gone", async () => {
  let status = 200;
  const bridge = createServer((request, response) => {
    response.writeHead(request.url === "/healthz" ? status : 404).end();
  });
  bridge.listen(0, "127.0.0.1");
  await once(bridge, "listening");
  const { port } = bridge.address() as AddressInfo;
  const [, ...args] = exec("HEALTHCHECK").map((part) => part.replace("127.0.0.1:4321", `127.0.0.1:${port}`));
  const ask = async () => {
    const [code] = (await once(spawn(process.execPath, args, { stdio: "ignore" }), "close")) as [number];
    return code;
  };
  expect(await ask()).toBe(0);
  status = 503;
  expect(await ask()).toBe(1);
  bridge.close();
  bridge.closeAllConnections();
  expect(await ask()).toBe(1);
});
