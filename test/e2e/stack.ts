import { lstatSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { composeService, type Service } from "./compose.ts";
import { editedAlertmanagerConfig, editedPrometheusConfig, type Pace } from "./edited.ts";
import { program } from "./programs.ts";
import { RunningProgram, type Start } from "./running.ts";

export interface StackOptions {
  /** Where Alertmanager sends its notifications; without it there is no Alertmanager. */
  readonly webhook?: string;
  /** One second each by default. */
  readonly pace?: Partial<Pace>;
  /** Added to the collector's environment: OTELCOL_QUEUE_BYTES and the like. */
  readonly collectorEnv?: Readonly<Record<string, string>>;
}

/**
 * The stack of docker-compose.yml without Docker: the real programs with the very files, flags and environment that it
 * gives them, on free loopback ports and in a temporary directory.
 */
export interface Stack {
  /** Where the bridge sends: OTEL_EXPORTER_OTLP_ENDPOINT for http/protobuf and http/json, and for grpc. */
  readonly otlpHttp: string;
  readonly otlpGrpc: string;
  /** Base addresses of the backends' APIs. */
  readonly jaegerUrl: string;
  readonly prometheusUrl: string;
  readonly alertmanagerUrl: string | undefined;
  /** What the collector shows to Prometheus, and what it says of itself. */
  readonly collectorMetricsUrl: string;
  readonly collectorSelfUrl: string;
  readonly collector: RunningProgram;
  readonly jaeger: RunningProgram;
  readonly prometheus: RunningProgram;
  readonly alertmanager: RunningProgram | undefined;
  /** The end of every program's log, for a test that failed. */
  logs(): string;
  /** Ends them all and removes what they wrote. Rejects with its log when one had ended by itself. */
  close(): Promise<void>;
}

export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const directory = mkdtempSync(join(tmpdir(), "behest-otel-stack-"));
  const programs: RunningProgram[] = [];
  const close = async (): Promise<void> => {
    const failed = programs.filter(({ hasFailed }) => hasFailed).map((one) => one.endOfLog());
    await Promise.all(programs.map((one) => one.kill("SIGTERM")));
    rmSync(directory, { recursive: true, force: true });
    if (failed.length > 0) throw new Error(`ended by itself\n${failed.join("\n")}`);
  };
  try {
    const { webhook } = options;
    const ports = await freePorts();
    const layout = { directory, ports, options, pace: { interval: "1s", group: "1s", ...options.pace } };
    const collector = new RunningProgram(collectorStart(layout));
    const jaeger = new RunningProgram(jaegerStart(layout));
    const prometheus = new RunningProgram(prometheusStart(layout));
    programs.push(collector, jaeger, prometheus);
    const alertmanager =
      webhook === undefined ? undefined : new RunningProgram(alertmanagerStart(layout, webhook));
    if (alertmanager !== undefined) programs.push(alertmanager);
    const started = await Promise.allSettled(programs.map((one) => one.start()));
    for (const result of started) if (result.status === "rejected") throw result.reason;
    return {
      otlpHttp: urlOf(ports.otlpHttp),
      otlpGrpc: urlOf(ports.otlpGrpc),
      jaegerUrl: urlOf(ports.jaegerQuery),
      prometheusUrl: urlOf(ports.prometheus),
      alertmanagerUrl: alertmanager && urlOf(ports.alertmanager),
      collectorMetricsUrl: `${urlOf(ports.collectorMetrics)}/metrics`,
      collectorSelfUrl: `${urlOf(ports.collectorSelf)}/metrics`,
      collector,
      jaeger,
      prometheus,
      alertmanager,
      logs: () => programs.map((one) => one.endOfLog()).join("\n"),
      close,
    };
  } catch (error) {
    // The reason is what could not be started, not what ended because of it.
    await close().catch(() => {});
    throw error;
  }
}

interface Layout {
  readonly directory: string;
  readonly options: StackOptions;
  readonly pace: Pace;
  readonly ports: Ports;
}

function collectorStart(layout: Layout): Start {
  const { ports, options } = layout;
  const service = serviceOf(layout, "otel-collector");
  return {
    name: "otelcol",
    executable: program("otelcol"),
    args: service.args,
    env: {
      ...service.environment,
      OTELCOL_GRPC_LISTEN: addressOf(ports.otlpGrpc),
      OTELCOL_HTTP_LISTEN: addressOf(ports.otlpHttp),
      OTELCOL_HEALTH_LISTEN: addressOf(ports.collectorHealth),
      OTELCOL_METRICS_LISTEN: addressOf(ports.collectorMetrics),
      OTELCOL_SELF_HOST: HOST,
      OTELCOL_SELF_PORT: String(ports.collectorSelf),
      OTELCOL_QUEUE_DIR: service.pathOf("/var/lib/otelcol/file_storage"),
      OTELCOL_SPAN_METRICS_INTERVAL: layout.pace.interval,
      JAEGER_OTLP_ENDPOINT: addressOf(ports.jaegerOtlp),
      ...options.collectorEnv,
    },
    readyUrl: urlOf(ports.collectorHealth),
    logFile: join(layout.directory, "otelcol.log"),
  };
}

function jaegerStart(layout: Layout): Start {
  const { ports } = layout;
  const service = serviceOf(layout, "jaeger");
  return {
    name: "jaeger",
    executable: program("jaeger"),
    args: service.args,
    env: {
      ...service.environment,
      JAEGER_OTLP_LISTEN: addressOf(ports.jaegerOtlp),
      JAEGER_QUERY_LISTEN: addressOf(ports.jaegerQuery),
      JAEGER_QUERY_GRPC_LISTEN: addressOf(ports.jaegerQueryGrpc),
      JAEGER_HEALTH_LISTEN: addressOf(ports.jaegerHealth),
      JAEGER_SELF_HOST: HOST,
      JAEGER_SELF_PORT: String(ports.jaegerSelf),
      PROMETHEUS_URL: urlOf(ports.prometheus),
    },
    readyUrl: `${urlOf(ports.jaegerHealth)}/status`,
    logFile: join(layout.directory, "jaeger.log"),
  };
}

function prometheusStart(layout: Layout): Start {
  const { directory, ports, pace } = layout;
  const service = serviceOf(layout, "prometheus");
  const addresses = new Map([
    ["otel-collector:8889", addressOf(ports.collectorMetrics)],
    ["otel-collector:8888", addressOf(ports.collectorSelf)],
    ["jaeger:8888", addressOf(ports.jaegerSelf)],
    ["alertmanager:9093", addressOf(ports.alertmanager)],
    ["localhost:9090", addressOf(ports.prometheus)],
  ]);
  editInPlace(service.pathOf("/etc/prometheus/prometheus.yml"), (file) =>
    editedPrometheusConfig({ file, pace, addresses }),
  );
  return {
    name: "prometheus",
    executable: program("prometheus"),
    args: withOwnAddress(service.args, ports.prometheus),
    env: service.environment,
    readyUrl: `${urlOf(ports.prometheus)}/-/ready`,
    logFile: join(directory, "prometheus.log"),
  };
}

function alertmanagerStart(layout: Layout, webhook: string): Start {
  const { directory, ports, pace } = layout;
  const service = serviceOf(layout, "alertmanager");
  editInPlace(service.pathOf("/etc/alertmanager/alertmanager.yml"), (file) =>
    editedAlertmanagerConfig({ file, pace, webhook }),
  );
  return {
    name: "alertmanager",
    executable: program("alertmanager"),
    args: withOwnAddress(service.args, ports.alertmanager),
    env: service.environment,
    readyUrl: `${urlOf(ports.alertmanager)}/-/ready`,
    logFile: join(directory, "alertmanager.log"),
  };
}

function serviceOf({ directory }: Layout, name: string): Service {
  return composeService(name, join(directory, name));
}

/** Puts an edited copy in the place where docker-compose.yml mounts the configuration. */
function editInPlace(path: string, edited: (file: string) => string): void {
  // Only a link to it may be replaced, never the file of the repository.
  if (!lstatSync(path).isSymbolicLink()) {
    throw new Error(`docker-compose.yml does not mount the one file ${path}`);
  }
  const copy = edited(path);
  rmSync(path);
  writeFileSync(path, copy);
}

function withOwnAddress(args: readonly string[], port: number): readonly string[] {
  const flags = ["--web.external-url=", "--web.listen-address="];
  const others = args.filter((arg) => !flags.some((flag) => arg.startsWith(flag)));
  return [...others, `--web.external-url=${urlOf(port)}`, `--web.listen-address=${addressOf(port)}`];
}

const HOST = "127.0.0.1";
const PORTS = [
  "otlpHttp",
  "otlpGrpc",
  "collectorHealth",
  "collectorMetrics",
  "collectorSelf",
  "jaegerOtlp",
  "jaegerQuery",
  "jaegerQueryGrpc",
  "jaegerHealth",
  "jaegerSelf",
  "prometheus",
  "alertmanager",
] as const;
type Ports = Readonly<Record<(typeof PORTS)[number], number>>;

/**
 * Free ports below those that systems give to outgoing connections: the port of a program that was killed must still be
 * free when it starts again.
 */
async function freePorts(): Promise<Ports> {
  const found = new Set<number>();
  while (found.size < PORTS.length) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (!found.has(port) && (await isFree(port))) found.add(port);
  }
  const ports = [...found];
  return Object.fromEntries(PORTS.map((name, index) => [name, ports[index]])) as unknown as Ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, HOST, () => server.close(() => resolve(true)));
  });
}

const addressOf = (port: number): string => `${HOST}:${port}`;
const urlOf = (port: number): string => `http://${addressOf(port)}`;
