import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import packageJson from "../../package.json" with { type: "json" };
import { readEnvironment } from "../../src/otel/environment.ts";
import { faults, pathInside, readCompose, type Compose, type Service } from "./compose-checks.ts";
// The schema of the Compose Specification as github.com/compose-spec/compose-go v2.16.2 has it (Apache-2.0, copyright
// The Compose Specification Authors), with other white space.
import specification from "./compose-spec.json" with { type: "json" };

const ROOT = join(import.meta.dirname, "../..");
const FILE = join(ROOT, "docker-compose.yml");

const { $schema: _, $id: __, ...schema } = specification;
const valid = new Ajv2020({ strict: false, validateFormats: false, allErrors: true }).compile(schema);

function service(name: string): Service {
  return readCompose(FILE).services[name]!;
}

describe("docker-compose.yml", () => {
  test("is a compose file", () => {
    valid(readCompose(FILE));
    expect(valid.errors ?? []).toEqual([]);
  });

  test("has no faults", () => {
    expect(faults(readCompose(FILE), ROOT)).toEqual([]);
  });

  test("has everything, and the brokers by profile", () => {
    const { services } = readCompose(FILE) as { services: Record<string, { profiles?: string[] }> };
    const names = (profile: string | undefined) =>
      Object.keys(services)
        .filter((name) => services[name]?.profiles?.[0] === profile)
        .toSorted();
    expect(names(undefined)).toEqual([
      "alertmanager",
      "bridge",
      "grafana",
      "jaeger",
      "otel-collector",
      "prometheus",
      "queue-owner",
    ]);
    expect(names("redis")).toEqual(["bridge-redis", "redis"]);
    expect(names("nats")).toEqual(["bridge-nats", "nats"]);
  });

  test("runs every bridge from the one image of this version, without rights", () => {
    const { services } = readCompose(FILE);
    const bridges = Object.entries(services).filter(([, { build }]) => build !== undefined);
    expect(bridges.map(([name]) => name)).toEqual(["bridge", "bridge-redis", "bridge-nats"]);
    for (const [, bridge] of bridges) {
      expect(bridge).toMatchObject({
        build: ".",
        image: `behest-otel:${packageJson.version}`,
        read_only: true,
        cap_drop: ["ALL"],
      });
    }
  });

  test("tells every bridge where to send to in words that it understands", () => {
    for (const name of ["bridge", "bridge-redis", "bridge-nats"]) {
      const { config, problems } = readEnvironment(service(name).environment ?? {});
      expect(problems).toEqual([]);
      expect(config.traces).toMatchObject({ endpoint: { url: "http://otel-collector:4318/v1/traces" } });
    }
  });

  test("gives Prometheus, Alertmanager and Grafana their files where they look for them", () => {
    const { rule_files: rules } = parse(
      readFileSync(join(ROOT, "deploy/prometheus/prometheus.yml"), "utf8"),
    ) as { rule_files: string[] };
    expect(rules).toEqual(["rules/*.rules.yml"]);
    expect(pathInside(service("prometheus"), "deploy/prometheus/prometheus.yml")).toBe(
      "/etc/prometheus/prometheus.yml",
    );
    for (const file of readdirSync(join(ROOT, "deploy/prometheus/rules"))) {
      expect(file).toMatch(/\.rules\.yml$/);
      expect(pathInside(service("prometheus"), `deploy/prometheus/rules/${file}`)).toBe(
        `/etc/prometheus/rules/${file}`,
      );
    }

    const grafana = service("grafana");
    const { providers } = parse(
      readFileSync(join(ROOT, "deploy/grafana/provisioning/dashboards/dashboards.yaml"), "utf8"),
    ) as { providers: { options: { path: string } }[] };
    const dashboards = readdirSync(join(ROOT, "deploy/grafana/dashboards")).map((file) =>
      pathInside(grafana, `deploy/grafana/dashboards/${file}`),
    );
    for (const { options } of providers) {
      expect(dashboards.every((path) => path?.startsWith(`${options.path}/`))).toBe(true);
    }
    expect(dashboards).toContain(grafana.environment?.["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]);
  });

  test("tells every program with a file of configuration where it lies", () => {
    const configured = ["otel-collector", "jaeger", "prometheus", "alertmanager"].map((name) => {
      const { command = [], volumes = [] } = service(name);
      const told = command.map((part) => /^--config(?:\.file)?=(.*)$/.exec(part)?.[1]).find(Boolean);
      return [name, volumes.some((volume) => volume.split(":")[1] === told)];
    });
    expect(configured.filter(([, given]) => !given)).toEqual([]);
  });

  test("lets nobody log in to Grafana, and everybody on this machine look", () => {
    expect(service("grafana").environment).toMatchObject({
      GF_AUTH_ANONYMOUS_ENABLED: "true",
      GF_AUTH_ANONYMOUS_ORG_ROLE: "Editor",
      GF_AUTH_BASIC_ENABLED: "false",
      GF_AUTH_DISABLE_LOGIN_FORM: "true",
      GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION: "true",
    });
  });
});

describe("the checks see", () => {
  const planted: readonly [string, string, (services: Record<string, Service>, compose: Compose) => void][] =
    [
      [
        "an image that moves",
        "grafana: grafana/grafana:latest is not pinned to a full version",
        ({ grafana }) => (grafana!.image = "grafana/grafana:latest"),
      ],
      [
        "an image of half a version",
        "jaeger: jaegertracing/jaeger:2.20 is not pinned to a full version",
        ({ jaeger }) => (jaeger!.image = "jaegertracing/jaeger:2.20"),
      ],
      [
        "a port that the network reaches",
        "prometheus: port 9090:9090 is not on loopback",
        ({ prometheus }) => (prometheus!.ports = ["9090:9090"]),
      ],
      [
        "two services on one port",
        "port 16686 is taken twice",
        ({ grafana }) => grafana!.ports?.push("127.0.0.1:16686:3001"),
      ],
      [
        "a file that is not there",
        "jaeger: ./deploy/jaeger/other.yaml does not exist",
        ({ jaeger }) => (jaeger!.volumes = ["./deploy/jaeger/other.yaml:/etc/jaeger/config.yaml:ro"]),
      ],
      ["a service that stays down", "bridge: does not restart", ({ bridge }) => delete bridge!.restart],
      [
        "a task that never ends",
        "queue-owner: runs once and yet restarts",
        ({ "queue-owner": owner }) => (owner!.restart = "unless-stopped"),
      ],
      [
        "a dependency on nothing",
        "bridge: depends on collector, which is no service",
        ({ bridge }) => (bridge!.depends_on = { collector: { condition: "service_started" } }),
      ],
      [
        "a wait for health that is never told",
        "bridge: waits for the health of otel-collector, which says nothing of it",
        ({ bridge }) => (bridge!.depends_on = { "otel-collector": { condition: "service_healthy" } }),
      ],
      [
        "a variable that the collector does not read",
        "otel-collector: none of its files reads OTELCOL_QUEUE_DIRECTORY",
        ({ "otel-collector": collector }) =>
          (collector!.environment = { OTELCOL_QUEUE_DIRECTORY: "/var/lib/otelcol/file_storage" }),
      ],
      [
        "a host that nobody is",
        "bridge: nobody listens on collector:4318",
        ({ bridge }) => (bridge!.environment = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318" }),
      ],
      [
        "a port that nobody listens on",
        "bridge-redis: nobody listens on redis:6380",
        ({ "bridge-redis": bridge }) => (bridge!.command = ["run", "--from", "redis://redis:6380?stream=s"]),
      ],
      [
        "a service that the files of others name and that is gone",
        "prometheus: nobody listens on alertmanager:9093",
        (services) => delete services["alertmanager"],
      ],
      [
        "a volume that is not declared",
        "volume data is not declared",
        ({ nats }) => (nats!.volumes = ["data:/data"]),
      ],
      ["a volume that nobody uses", "volume redis-data is not used", ({ redis }) => delete redis!.volumes],
    ];

  test.each(planted)("%s", (__name, fault, plant) => {
    const compose = structuredClone(readCompose(FILE));
    plant(compose.services, compose);
    expect(faults(compose, ROOT)).toContain(fault);
  });

  test("a key that is misspelt, and a condition that there is none of", () => {
    for (const plant of [
      { ...readCompose(FILE), services: { bridge: { image: "a:1.2.3", comand: ["run"] } } },
      { services: { bridge: { image: "a:1.2.3", depends_on: { redis: { condition: "healthy" } } } } },
    ]) {
      expect(valid(plant)).toBe(false);
    }
  });
});
