import type { Variables } from "./variables.ts";

export type Signal = "traces" | "metrics" | "logs";

const PROTOCOLS = ["http/protobuf", "http/json", "grpc"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** Where one signal goes by OTLP. */
export interface Endpoint {
  readonly protocol: Protocol;
  /** The whole URL over HTTP, path included; over gRPC `http://host:port`, `https://host:port` or `unix:path`. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly compression: "none" | "gzip";
  /** For one request, from connecting to the last byte of the answer. */
  readonly timeoutMs: number;
  readonly tls: Tls;
}

/** The contents of PEM files. */
export interface Tls {
  readonly ca: Buffer | undefined;
  readonly key: Buffer | undefined;
  readonly cert: Buffer | undefined;
}

/** Reads the `OTEL_EXPORTER_OTLP_*` variables that hold for one signal (OTLP exporter specification). */
export function readEndpoint(signal: Signal, variables: Variables): Endpoint {
  const names = (suffix: string) => [
    `OTEL_EXPORTER_OTLP_${signal.toUpperCase()}_${suffix}`,
    `OTEL_EXPORTER_OTLP_${suffix}`,
  ];
  const protocol = variables.choice(names("PROTOCOL"), PROTOCOLS, "http/protobuf");
  return {
    protocol,
    url:
      protocol === "grpc"
        ? grpcUrl(variables, names("ENDPOINT"), variables.flag(names("INSECURE")))
        : httpUrl(variables, names("ENDPOINT"), signal),
    headers: readHeaders(variables, names("HEADERS"), protocol),
    compression: variables.choice(names("COMPRESSION"), ["none", "gzip"], "none"),
    timeoutMs: variables.integer(names("TIMEOUT"), 1, DEFAULT_TIMEOUT_MS),
    tls: readTls(variables, names),
  };
}

const DEFAULT_TIMEOUT_MS = 10_000;
const DEFAULT_HTTP = "http://localhost:4318";
const DEFAULT_GRPC = "http://localhost:4317";

/** A signal's own endpoint is taken as it is; the general one gets the signal's path behind its own. */
function httpUrl(variables: Variables, names: readonly string[], signal: Signal): string {
  const found = variables.text(names);
  const url = parseUrl(found?.value ?? DEFAULT_HTTP);
  if (found !== undefined && url === undefined) {
    variables.problem(found.name, withoutPassword(found.value), "a URL that begins with http:// or https://");
  }
  if (url === undefined) return `${DEFAULT_HTTP}/v1/${signal}`;
  if (found?.name !== names[0]) url.pathname = `${url.pathname.replace(/\/$/, "")}/v1/${signal}`;
  return url.href;
}

/** Without a scheme the connection is secure unless `..._INSECURE` is true; a path means nothing in gRPC. */
function grpcUrl(variables: Variables, names: readonly string[], insecure: boolean): string {
  const found = variables.text(names);
  if (found === undefined) return DEFAULT_GRPC;
  if (found.value.startsWith("unix:")) return found.value;
  const bare = !found.value.includes("://");
  const url = parseUrl(bare ? `${insecure ? "http" : "https"}://${found.value}` : found.value);
  if (url !== undefined) {
    return `${url.protocol}//${url.hostname}:${url.port || (url.protocol === "http:" ? 80 : 443)}`;
  }
  variables.problem(
    found.name,
    withoutPassword(found.value),
    "host:port, or a URL that begins with http:// or https://",
  );
  return DEFAULT_GRPC;
}

function parseUrl(text: string): URL | undefined {
  const url = URL.parse(text);
  return url !== null && (url.protocol === "http:" || url.protocol === "https:") ? url : undefined;
}

/** An endpoint as it may be shown and logged: without user, password and query, which may be keys. */
export function withoutPassword(url: string): string {
  return url.replace(/\/\/[^/@]*@/, "//").replace(/[?#].*$/s, "");
}

/** Those of the signal are added to the general ones and win over them. */
function readHeaders(
  variables: Variables,
  [specific, general]: readonly string[],
  protocol: Protocol,
): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const name of [general, specific]) {
    if (name === undefined) continue;
    for (const [key, value] of variables.pairs(name, { secret: true })) {
      const wrong = wrongHeader(key, value, protocol);
      if (wrong === undefined) headers[key.toLowerCase()] = value;
      else variables.problem(name, `${key}=(not shown)`, wrong);
    }
  }
  return headers;
}

/** What HTTP and gRPC would throw on at the first request is told at the start instead. */
function wrongHeader(key: string, value: string, protocol: Protocol): string | undefined {
  if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/i.test(key)) return "a header name made of letters, digits and -_.";
  if (protocol === "grpc") {
    if (!/^[0-9a-z_.-]+$/i.test(key)) return "a metadata name made of letters, digits and -_.";
    if (!/^[\x20-\x7e]*$/.test(value)) return "a value made of printable ASCII characters";
  }
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(value) ? undefined : "a value without control characters";
}

function readTls(variables: Variables, names: (suffix: string) => readonly string[]): Tls {
  const tls: Tls = {
    ca: variables.file(names("CERTIFICATE")),
    key: variables.file(names("CLIENT_KEY")),
    cert: variables.file(names("CLIENT_CERTIFICATE")),
  };
  const key = variables.text(names("CLIENT_KEY"));
  const cert = variables.text(names("CLIENT_CERTIFICATE"));
  const alone = key !== undefined && cert === undefined ? key : key === undefined ? cert : undefined;
  if (alone !== undefined) {
    variables.problem(alone.name, alone.value, "a client key together with a client certificate");
  }
  return tls;
}
