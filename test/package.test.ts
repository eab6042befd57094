import { execFile } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, test } from "vitest";
import packageJson from "../package.json" with { type: "json" };
import { VERSION } from "../src/version.ts";
import { RECORDINGS, ROOT, temporary } from "./cli/program.ts";
import { startGrpcBackend } from "./otel/otlp-server.ts";

const run = promisify(execFile);
const RECORDING = join(RECORDINGS, "plain-answer.ndjson");

/** What is packed, unpacked somewhere else, with nothing beside it. */
let packed: string;
beforeAll(async () => {
  const directory = temporary();
  // What is built was built before; the network is not needed for anything.
  await npm(["pack", "--ignore-scripts", "--offline", "--pack-destination", directory]);
  await run("tar", ["-xzf", join(directory, `behest-otel-${VERSION}.tgz`), "-C", directory]);
  packed = join(directory, "package");
});

function npm(args: readonly string[]) {
  return run("npm", args, { cwd: ROOT, shell: process.platform === "win32" });
}

describe("the package", () => {
  test("holds what is built and what is read, and nothing else", () => {
    const files = readdirSync(packed, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(packed, join(entry.parentPath, entry.name)).replaceAll("\\", "/"));
    const odd = files.filter(
      (file) => !/^dist\/(bin\.js|(lib\/)?chunks\/[\w-]+\.js|lib\/[\w-]+\.js|lib\/.*\.d\.ts)$/.test(file),
    );
    const top = ["CHANGELOG.md", "LICENSE", "README.md", "package.json"];
    expect(odd.filter((file) => !top.includes(file))).toEqual([]);
    expect(files).toContain("LICENSE");
    expect(readFileSync(join(packed, "dist/bin.js"), "utf8").split("\n")[0]).toBe("#!/usr/bin/env node");
  });
});

describe("the program, with no package beside it", () => {
  const program = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    run(process.execPath, [join(packed, "dist/bin.js"), ...args], {
      env: { PATH: process.env["PATH"], ...env },
    });

  test("says what it is", async () => {
    expect(await program(["--version"])).toEqual({ stdout: `${VERSION}\n`, stderr: "" });
    expect((await program(["--help"])).stdout).toContain("Usage: behest-otel COMMAND");
  });

  test("shows a recording", async () => {
    expect((await program(["view", RECORDING])).stdout).toContain("chat gpt-4o");
  });

  test("reads a file of options", async () => {
    const config = temporary("c.yaml", "agent-name: support\n");
    expect((await program(["view", "--config", config, RECORDING])).stdout).toContain("invoke_agent support");
  });

  test.each(["http/protobuf", "http/json"])("serializes for %s", async (protocol) => {
    const env = { OTEL_TRACES_EXPORTER: "console", OTEL_EXPORTER_OTLP_PROTOCOL: protocol };
    expect((await program(["replay", RECORDING], env)).stdout).toContain('"name":"chat gpt-4o"');
  });

  test("sends over gRPC", async () => {
    const backend = await startGrpcBackend();
    const env = { OTEL_EXPORTER_OTLP_PROTOCOL: "grpc", OTEL_EXPORTER_OTLP_ENDPOINT: backend.url };
    await program(["replay", RECORDING], env);
    expect(backend.taken.map(({ name }) => name).toSorted()).toEqual(["chat gpt-4o", "invoke_agent"]);
    await backend.close();
  });
});

describe("the library, installed", () => {
  /** A project that has the package, and these of its own. */
  function project(packages: readonly string[]): string {
    const directory = temporary();
    const modules = join(directory, "node_modules");
    for (const name of packages) {
      mkdirSync(dirname(join(modules, name)), { recursive: true });
      symlinkSync(join(ROOT, "node_modules", name), join(modules, name), "junction");
    }
    // Copied: a link would find the packages of this repository.
    mkdirSync(modules, { recursive: true });
    cpSync(packed, join(modules, "behest-otel"), { recursive: true });
    return directory;
  }

  const evaluate = async (directory: string, code: string) => {
    writeFileSync(join(directory, "main.mjs"), code);
    const { stdout } = await run(process.execPath, ["main.mjs"], { cwd: directory });
    return JSON.parse(stdout) as unknown;
  };

  const API = ["@opentelemetry/api"];

  test("needs nothing but the OpenTelemetry API", async () => {
    const exported = await evaluate(
      project(API),
      `import * as library from "behest-otel"; console.log(JSON.stringify(Object.keys(library).sort()))`,
    );
    expect(exported).toEqual(
      [
        "behestIdGenerator",
        "createSink",
        "parseEvent",
        "spanIdOf",
        "startTelemetry",
        "traceIdOf",
        "traceparentOf",
      ].toSorted(),
    );
  });

  test("loads nothing but the API and Node.js itself, until it is asked to", () => {
    const loaded = new Set<string>();
    const visit = (file: string): void => {
      for (const [, specifier = ""] of readFileSync(file, "utf8").matchAll(
        /^(?:import|export)\b[^"]*"([^"]+)";$/gm,
      )) {
        if (specifier.startsWith(".")) visit(join(dirname(file), specifier));
        else loaded.add(specifier);
      }
    };
    visit(join(packed, "dist/lib/index.js"));
    expect([...loaded].filter((name) => !name.startsWith("node:"))).toEqual(["@opentelemetry/api"]);
  });

  test("takes events, and makes spans with the SDK of its host", async () => {
    const lines = readFileSync(RECORDING, "utf8").split("\n").slice(0, -1);
    const directory = project([
      ...API,
      "@opentelemetry/sdk-trace",
      "@opentelemetry/core",
      "@opentelemetry/resources",
    ]);
    const spans = await evaluate(
      directory,
      `import { createSink, behestIdGenerator } from "behest-otel";
       import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
       const exporter = new InMemorySpanExporter();
       const tracerProvider = new TracerProvider({ idGenerator: behestIdGenerator, spanProcessors: [new SimpleSpanProcessor({ exporter })] });
       const sink = createSink({ tracerProvider });
       for (const event of ${JSON.stringify(lines.map((line) => JSON.parse(line) as unknown))}) sink.emit(event);
       await sink.close();
       await tracerProvider.forceFlush();
       console.log(JSON.stringify(exporter.getFinishedSpans().map(({ name }) => name).sort()));`,
    );
    expect(spans).toEqual(["chat gpt-4o", "invoke_agent"]);
  });

  test("has schemas that are zod's, and a sink of its own that needs no SDK", async () => {
    const answer = await evaluate(
      project([...API, "zod"]),
      `import { agentEventSchema } from "behest-otel/schema"; import { createOtlpSink } from "behest-otel/otlp";
       console.log(JSON.stringify([typeof agentEventSchema.safeParse, typeof createOtlpSink]))`,
    );
    expect(answer).toEqual(["function", "function"]);
  });

  test("says which package is missing for setting up an SDK", async () => {
    const message = await evaluate(
      project(API),
      `import { startTelemetry } from "behest-otel";
       console.log(JSON.stringify(await startTelemetry().then(() => "started", (error) => error.message)))`,
    );
    expect(message).toContain("@opentelemetry/sdk-node");
  });

  test("has every file that its exports name", () => {
    for (const paths of Object.values(packageJson.exports)) {
      for (const path of typeof paths === "string" ? [paths] : Object.values(paths)) {
        expect(existsSync(join(packed, path)), path).toBe(true);
      }
    }
  });

  test("has types that a strict project takes", async () => {
    const directory = project([...API, "zod", "@types/node", "undici-types"]);
    writeFileSync(join(directory, "package.json"), '{ "type": "module" }');
    writeFileSync(
      join(directory, "main.ts"),
      `import { createSink, parseEvent, traceparentOf, type AgentEvent, type Sink } from "behest-otel";
       import { createOtlpSink } from "behest-otel/otlp";
       import { agentEventSchema } from "behest-otel/schema";
       const sink: Sink = createSink({ agentName: "support", content: "off" });
       const event: AgentEvent = agentEventSchema.parse({});
       sink.emit(event, { traceparent: traceparentOf("0199c2f4-7c1e-7d3a-9b59-3f1f0a6f7e11") });
       // @ts-expect-error -- not a word that content can have
       createOtlpSink({ content: "everything" });
       void parseEvent("{}");`,
    );
    writeFileSync(
      join(directory, "tsconfig.json"),
      JSON.stringify({
        compilerOptions: {
          module: "nodenext",
          target: "es2024",
          strict: true,
          exactOptionalPropertyTypes: true,
          noEmit: true,
          types: ["node"],
        },
        files: ["main.ts"],
      }),
    );
    const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
    const said = await run(process.execPath, [tsc, "-p", directory]).catch(
      (error: { stdout: string }) => error,
    );
    expect(said.stdout).toBe("");
  });
});
