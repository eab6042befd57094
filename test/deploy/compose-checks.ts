import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";

/** What the checks read of a compose file. */
export interface Compose {
  readonly services: Record<string, Service>;
  readonly volumes?: Record<string, unknown>;
}

export interface Service {
  image?: string;
  build?: string;
  command?: string[];
  environment?: Record<string, string>;
  restart?: string;
  read_only?: boolean;
  volumes?: string[];
  ports?: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
}

export function readCompose(file: string): Compose {
  return parse(readFileSync(file, "utf8"), { merge: true }) as Compose;
}

/** Everything that is wrong with a compose file whose mounted files lie under `root`; empty when nothing is. */
export function faults(compose: Compose, root: string): string[] {
  const services = Object.entries(compose.services);
  return [
    ...services.flatMap(([name, service]) => [
      ...unpinned(service).map((image) => `${name}: ${image} is not pinned to a full version`),
      ...openPorts(service).map((port) => `${name}: port ${port} is not on loopback`),
      ...missingMounts(service, root).map((path) => `${name}: ${path} does not exist`),
      ...stops(name, compose).map((fault) => `${name}: ${fault}`),
      ...unknownVariables(service, root).map((variable) => `${name}: none of its files reads ${variable}`),
      ...dependencies(service, compose).map((fault) => `${name}: ${fault}`),
      ...unknownPeers(service, compose, root).map((peer) => `${name}: nobody listens on ${peer}`),
    ]),
    ...volumeFaults(compose),
    ...takenTwice(services.flatMap(([, { ports = [] }]) => ports)).map(
      (port) => `port ${port} is taken twice`,
    ),
  ];
}

/** `1.2.3`, with or without a `v` or the name of a base; `1.37` may move on, `latest` does. */
function unpinned({ image = "(none)" }: Service): string[] {
  return /^[a-z0-9./-]+:v?\d+\.\d+\.\d+(-[a-z0-9.]+)?$/.test(image) ? [] : [image];
}

function openPorts({ ports = [] }: Service): string[] {
  return ports.filter((port) => !/^127\.0\.0\.1:\d+:\d+$/.test(port));
}

interface Mount {
  readonly source: string;
  readonly target: string;
}

function mounts({ volumes = [] }: Service): Mount[] {
  return volumes.map((volume) => {
    const [source = "", target = ""] = volume.split(":");
    return { source, target };
  });
}

function isPath({ source }: Mount): boolean {
  return source.startsWith(".") || source.startsWith("/");
}

function missingMounts(service: Service, root: string): string[] {
  return mounts(service)
    .filter((mount) => isPath(mount) && !existsSync(join(root, mount.source)))
    .map(({ source }) => source);
}

/** A service whose end others wait for runs once; every other one is to stay. */
function stops(name: string, { services }: Compose): string[] {
  const awaited = Object.values(services).some(
    ({ depends_on = {} }) => depends_on[name]?.condition === "service_completed_successfully",
  );
  const restarts = services[name]?.restart !== undefined;
  if (awaited === restarts) return [awaited ? "runs once and yet restarts" : "does not restart"];
  return [];
}

/**
 * Variables that a service is given and does not know: of its mounted files when they read variables at all, else of
 * the programs whose variables have a prefix of their own.
 */
function unknownVariables(service: Service, root: string): string[] {
  const read = new Set(
    [...mountedText(service, root).matchAll(/\$\{env:([A-Z0-9_]+)/g)].map(([, name]) => name),
  );
  return Object.keys(service.environment ?? {}).filter(
    (name) => !/^(GOMEMLIMIT|GOGC|GF_|OTEL_|BEHEST_OTEL_)/.test(name) && !read.has(name),
  );
}

function dependencies({ depends_on = {} }: Service, { services }: Compose): string[] {
  return Object.entries(depends_on).flatMap(([name, { condition }]) => {
    const service = services[name];
    if (service === undefined) return [`depends on ${name}, which is no service`];
    if (condition === "service_healthy" && service.healthcheck === undefined) {
      return [`waits for the health of ${name}, which says nothing of it`];
    }
    return [];
  });
}

/** `host:port` in what a service is told, where the host is no service or the service listens elsewhere. */
function unknownPeers(service: Service, { services }: Compose, root: string): string[] {
  const told = [
    ...(service.command ?? []),
    ...Object.values(service.environment ?? {}),
    ...(service.healthcheck?.test ?? []),
    withoutComments(mountedText(service, root)),
  ].join("\n");
  const peers = [...told.matchAll(/(?<![\w.@/-])(?:\w+:\/\/)?([a-z][a-z0-9.-]*):(\d{4,5})\b/g)];
  const unknown = peers
    // What a browser opens is on the machine, where all ports are published.
    .filter(([, host = ""]) => host !== "localhost")
    .filter(([, host = "", port = ""]) => {
      const peer = services[host];
      return peer === undefined || !listening(peer, root).has(port);
    });
  return [...new Set(unknown.map(([, host, port]) => `${host}:${port}`))];
}

/** The ports in the published ones, the command and the mounted files of a service. */
function listening(service: Service, root: string): ReadonlySet<string> {
  const published = (service.ports ?? []).map((port) => port.split(":").at(-1) ?? "");
  const text = [...(service.command ?? []), withoutComments(mountedText(service, root))].join("\n");
  const configured = [...text.matchAll(/(?:0\.0\.0\.0:|port: (?:\$\{env:\w+:-)?)(\d{4,5})\b/g)];
  return new Set([...published, ...configured.map(([, port = ""]) => port)]);
}

function mountedText(service: Service, root: string): string {
  const files = mounts(service)
    .filter((mount) => isPath(mount) && existsSync(join(root, mount.source)))
    .flatMap(({ source }) => filesIn(join(root, source)))
    .filter((file) => /\.ya?ml$/.test(file));
  return files.map((file) => readFileSync(file, "utf8")).join("\n");
}

function filesIn(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function withoutComments(yaml: string): string {
  return yaml.replace(/(^|\s)#.*$/gm, "$1");
}

function volumeFaults({ services, volumes = {} }: Compose): string[] {
  const used = Object.values(services)
    .flatMap(mounts)
    .filter((mount) => !isPath(mount))
    .map(({ source }) => source);
  return [
    ...used.filter((name) => !(name in volumes)).map((name) => `volume ${name} is not declared`),
    ...Object.keys(volumes)
      .filter((name) => !used.includes(name))
      .map((name) => `volume ${name} is not used`),
  ];
}

function takenTwice(ports: readonly string[]): string[] {
  const outside = ports.map((port) => port.split(":").at(-2) ?? port);
  return outside.filter((port, index) => outside.indexOf(port) !== index);
}

/** Where a service finds a path of the repository, or undefined when it is not given it. */
export function pathInside(service: Service, path: string): string | undefined {
  const mount = mounts(service).find(
    ({ source }) => source === `./${path}` || path.startsWith(`${source.slice(2)}/`),
  );
  return mount && mount.target + `./${path}`.slice(mount.source.length);
}
