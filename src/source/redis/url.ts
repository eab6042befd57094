/** Which stream of which Redis to read, as the URL says it. */
export interface RedisSpec {
  readonly kind: "redis";
  /** Servers to begin at, tried in turn: of a cluster any of them, of Sentinel the sentinels. */
  readonly nodes: readonly Address[];
  /** The name that the sentinels know the master by. */
  readonly sentinel: string | undefined;
  /** There for `rediss`, absent for `redis`. */
  readonly tls: TlsFiles | undefined;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly database: number;
  readonly stream: string;
  readonly group: string;
  /** Where a group that does not exist yet begins: `0-0`, `$`, or behind an entry id. */
  readonly start: string;
}

export interface Address {
  /** A name, an IPv4 address, or an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Files in PEM; what is not named is the system's. */
interface TlsFiles {
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
}

/** The variables with the passwords that need not stand in a URL: of the server, and of the sentinels. */
export const PASSWORD_VARIABLE = "BEHEST_OTEL_REDIS_PASSWORD";
export const SENTINEL_PASSWORD_VARIABLE = "BEHEST_OTEL_REDIS_SENTINEL_PASSWORD";

/** What the runtime's publisher writes to by default (behest 0.2.2 `queue/redis_streams.rs`). */
const DEFAULT_STREAM = "behest:events";
const DEFAULT_GROUP = "behest-otel";

const PARAMETERS = ["stream", "group", "start", "sentinel", "ca", "cert", "key"] as const;
type Parameters = ReadonlyMap<string, string>;

const URL_PARTS = /^(rediss?):\/\/(?:([^/?#]*)@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/i;
const NODE = /^(?:\[([0-9a-f:.]+)\]|([^:\s[\]@]+))(?::(\d{1,5}))?$/i;
const ENTRY_ID = /^\d{1,19}(?:-\d{1,19})?$/;
const EXPECTED =
  "expected redis://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]...][/DATABASE]?stream=KEY&group=NAME";

/**
 * Reads `redis://USER@HOST:PORT?stream=KEY&group=NAME` and `rediss://…`. A text says everything that is
 * wrong with the URL; it repeats no user, no password and no value of the query.
 */
export function parseRedisUrl(text: string): RedisSpec | string {
  const parts = URL_PARTS.exec(text);
  if (parts === null) return `is no URL of a Redis stream; ${EXPECTED}`;
  const [, scheme = "", userinfo, hosts = "", path = "", query = ""] = parts;
  const problems: string[] = [];
  const parameters = readParameters(query, problems);
  const sentinel = parameters.get("sentinel");
  const nodes = readNodes(hosts, sentinel === undefined ? 6379 : 26_379, problems);
  const [username, password] = readUser(userinfo, problems);
  if (!/^\d{0,5}$/.test(path)) problems.push("names a database that is no number");
  const tls = scheme.toLowerCase() === "rediss" ? readTls(parameters, problems) : noTls(parameters, problems);
  const stream = parameters.get("stream") ?? DEFAULT_STREAM;
  if (stream.includes("}") && tagOf(stream) === stream) {
    problems.push("stream: has a } without a {tag} before it, so that its state could not lie beside it");
  }
  const start = readStart(parameters.get("start"), problems);
  if (problems.length > 0) return problems.join("; ");
  return {
    kind: "redis",
    nodes,
    sentinel,
    tls,
    username,
    password,
    database: Number(path),
    stream,
    group: parameters.get("group") ?? DEFAULT_GROUP,
    start,
  };
}

/** The source for people, and as a label: nothing in it is secret. */
export function redisName({ tls, nodes, stream }: RedisSpec): string {
  const hosts = nodes.map(addressText).join(",");
  return `${tls === undefined ? "redis" : "rediss"}://${hosts}?stream=${stream}`;
}

export function addressText({ host, port }: Address): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** The part of a key that decides its slot in a cluster (Redis Cluster specification, hash tags). */
export function tagOf(key: string): string {
  const [, tag] = /^[^{]*\{([^}]+)\}/.exec(key) ?? [];
  return tag ?? key;
}

function readParameters(query: string, problems: string[]): Parameters {
  const values = new Map<string, string>();
  for (const pair of query.split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = equals < 0 ? pair : pair.slice(0, equals);
    const value = equals < 0 ? "" : decoded(pair.slice(equals + 1));
    if (!PARAMETERS.some((known) => known === name)) {
      const shown = /^[\w-]{1,40}$/.test(name) ? ` ${name}` : "";
      const allowed = `${PARAMETERS.slice(0, -1).join(", ")} or ${PARAMETERS.at(-1)}`;
      problems.push(`has a parameter${shown} that is not known; expected ${allowed}`);
    } else if (value === undefined || value === "" || value.includes("\0")) {
      problems.push(`${name}: has no value that can be used`);
    } else if (values.has(name)) {
      problems.push(`${name}: is there more than once`);
    } else {
      values.set(name, value);
    }
  }
  return values;
}

function readNodes(hosts: string, defaultPort: number, problems: string[]): Address[] {
  const nodes: Address[] = [];
  for (const part of hosts.split(",")) {
    const [whole, bracketed, plain, digits] = NODE.exec(part) ?? [];
    const port = digits === undefined ? defaultPort : Number(digits);
    const host = bracketed ?? plain;
    if (whole === undefined || host === undefined || port < 1 || port > 65_535) {
      problems.push(`has a host that is none; ${EXPECTED}`);
      break;
    }
    nodes.push({ host: host.toLowerCase(), port });
  }
  return nodes;
}

function readUser(userinfo: string | undefined, problems: string[]): (string | undefined)[] {
  if (userinfo === undefined) return [];
  const colon = userinfo.indexOf(":");
  const parts = colon < 0 ? [userinfo] : [userinfo.slice(0, colon), userinfo.slice(colon + 1)];
  return parts.map((part) => {
    const text = decoded(part);
    if (text === undefined) problems.push("has a user or password with a % that begins no escape");
    return text === "" ? undefined : text;
  });
}

function readTls(parameters: Parameters, problems: string[]): TlsFiles {
  const [caFile, certFile, keyFile] = ["ca", "cert", "key"].map((name) => parameters.get(name));
  if ((certFile === undefined) !== (keyFile === undefined)) {
    problems.push("has one of cert and key; expected both or none");
  }
  return { caFile, certFile, keyFile };
}

function noTls(parameters: Parameters, problems: string[]): undefined {
  if (["ca", "cert", "key"].some((name) => parameters.has(name))) {
    problems.push("has certificates and connects without TLS; expected rediss:// instead of redis://");
  }
}

function readStart(start: string | undefined, problems: string[]): string {
  if (start === undefined || start === "beginning") return "0-0";
  if (start === "new") return "$";
  if (ENTRY_ID.test(start)) return start.includes("-") ? start : `${start}-0`;
  problems.push("start: is none that is known; expected beginning, new or the id of an entry");
  return "0-0";
}

/** A plus is a plus: this is no form. */
function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
