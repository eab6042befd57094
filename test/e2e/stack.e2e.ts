import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from "vitest";
import { parse } from "yaml";

import type { Report } from "../../src/report.ts";
import { RECORDINGS, ROOT, run, temporary } from "../cli/program.ts";
import listed from "./programs.json" with { type: "json" };
import { program } from "./programs.ts";
import { eventually } from "./running.ts";
import { startStack, type Stack } from "./stack.ts";

const CONFIG = join(ROOT, "collector-config.yaml");
const KINDS = ["receivers", "processors", "connectors", "exporters", "extensions"] as const;
type Components = Readonly<Record<(typeof KINDS)[number], Readonly<Record<string, unknown>>>>;

const yaml = (path: string): unknown => parse(readFileSync(join(ROOT, path), "utf8"));

describe("the collector's configuration", () => {
  test("is valid as it is shipped, without a word of warning", () => {
    const { status, stdout, stderr } = spawnSync(program("otelcol"), ["validate", `--config=${CONFIG}`], {
      encoding: "utf8",
    });
    expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: "" });
  });

  test("uses all components that the builder puts together, and no other", () => {
    const config = yaml("collector-config.yaml") as Components;
    const built = parse(execFileSync(program("otelcol"), ["components"], { encoding: "utf8" })) as Readonly<
      Record<string, readonly { readonly name: string }[]>
    >;
    for (const kind of KINDS) {
      // An id is a type, and a name after a slash when there are several of one type.
      const used = Object.keys(config[kind]).map((id) => id.split("/")[0] ?? id);
      const names = (built[kind] ?? []).map(({ name }) => name);
      expect(names.toSorted(), kind).toEqual([...new Set(used)].toSorted());
    }
  });

  test("is tried with the collector that docker-compose.yml runs", () => {
    const compose = yaml("docker-compose.yml") as {
      readonly services: Readonly<Record<string, { readonly image: string }>>;
    };
    const manifest = yaml("test/e2e/otelcol-builder.yaml") as { readonly dist: { readonly version: string } };
    const { version } = listed.built.otelcol;
    expect(compose.services["otel-collector"]?.image.split(":").at(-1)).toBe(version);
    expect(manifest.dist.version).toBe(version);
    const locked = readFileSync(join(ROOT, "test/e2e/tools/otelcol/go.mod"), "utf8");
    const modules = readFileSync(join(ROOT, "test/e2e/otelcol-builder.yaml"), "utf8").matchAll(
      /gomod: (\S+ v\S+)/g,
    );
    expect(
      [...modules].map(([, module]) => module).filter((module) => !locked.includes(`\t${module}\n`)),
    ).toEqual([]);
  });
});

describe("the stack", () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack();
  });
  afterAll(() => stack?.close());
  beforeEach(() => onTestFailed(() => console.error(stack.logs())));

  test("takes a recorded run to Jaeger and to Prometheus, and warns of nothing", async () => {
    const { trace, spans } = await replay("parallel-tools");
    await eventually("all spans are in Jaeger", async () => (await spansOf(trace)).length === spans);
    const legacy = await get(`${stack.jaegerUrl}/api/traces/${trace}`);
    expect(JSON.parse(legacy)).toMatchObject({ data: [{ traceID: trace, spans: { length: spans } }] });
    expect(legacy).toContain('"warnings":null');
    expect(legacy).not.toContain('"warnings":[');

    const ended = encodeURIComponent('sum(behest_run_ended_total{behest_run_outcome="completed"}) == 1');
    await eventually("the run is counted in Prometheus", async () =>
      (await get(`${stack.prometheusUrl}/api/v1/query?query=${ended}`)).includes('"value"'),
    );
    // What gRPC says is that Jaeger, started at the same time, was not there yet.
    const warnings = stack.collector.log.split("\n").filter((line) => /\t(warn|error)\t/.test(line));
    expect(warnings.filter((line) => !line.includes('"grpc_log": true'))).toEqual([]);
  });

  test("delivers what it took while Jaeger was away, though the collector was killed as well", async () => {
    await stack.jaeger.kill("SIGKILL");
    const { trace, spans } = await replay("token-budget");
    await stack.collector.kill("SIGKILL");
    await Promise.all([stack.jaeger.start(), stack.collector.start()]);
    await eventually("all spans are in Jaeger", async () => (await spansOf(trace)).length === spans);
  });

  async function replay(recording: string): Promise<{ readonly trace: string; readonly spans: number }> {
    const file = join(RECORDINGS, `${recording}.ndjson`);
    const report = temporary("report.json");
    const { status, stderr } = await run({
      args: ["replay", "--metrics", "--report", report, file],
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: stack.otlpHttp },
    });
    expect(status, stderr).toBe(0);
    const [, id = ""] = /"run_id":"([^"]+)"/.exec(readFileSync(file, "utf8")) ?? [];
    const { spans } = JSON.parse(readFileSync(report, "utf8")) as Report;
    expect(spans.exported).toBeGreaterThan(1);
    return { trace: id.replaceAll("-", ""), spans: spans.exported };
  }

  async function spansOf(trace: string): Promise<readonly unknown[]> {
    const response = await fetch(`${stack.jaegerUrl}/api/v3/traces/${trace}`);
    if (!response.ok) return [];
    const { result } = (await response.json()) as {
      readonly result: {
        readonly resourceSpans: readonly {
          readonly scopeSpans: readonly { readonly spans: readonly unknown[] }[];
        }[];
      };
    };
    return result.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans));
  }

  async function get(url: string): Promise<string> {
    const response = await fetch(url);
    expect(response.status, url).toBe(200);
    return response.text();
  }
});
