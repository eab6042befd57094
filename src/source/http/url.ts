/** Where to listen for events over HTTP, as the URL says it. */
export interface HttpSpec {
  readonly kind: "http";
  /** A name, an IPv4 address, or an IPv6 address without brackets. */
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly path: string;
  /** Files with the certificate (chain) and its key in PEM: there for `https`, absent for `http`. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly tokenFile: string | undefined;
}

/** The variable that has the bearer token, where the URL names no file with one. */
export const TOKEN_VARIABLE = "BEHEST_OTEL_HTTP_TOKEN";

const DEFAULT_PATH = "/v1/events";

/** Paths that answer to health checks, and so take no events. */
export const HEALTH_PATHS = ["/healthz", "/readyz"] as const;

const PARAMETERS = ["cert", "key", "token-file"] as const;

const URL_PARTS = /^(https?):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?$/i;
const AUTHORITY = /^(?:\[([0-9a-f:.]+)\]|([^:\s[\]]+)):(\d{1,5})$/i;
const PATH = /^(?:\/[A-Za-z0-9._~-]+)+$/;

/**
 * Reads `http://HOST:PORT/PATH?token-file=FILE` or `https://…?cert=FILE&key=FILE`. A text says what is wrong
 * with the URL; it repeats no part of it that could be a secret.
 */
export function parseHttpUrl(text: string): HttpSpec | string {
  const [, scheme = "", authority = "", path = "", query = ""] = URL_PARTS.exec(text) ?? [];
  if (scheme === "") return "is no URL to listen on; expected http://HOST:PORT/PATH";
  if (authority.includes("@")) {
    return `has a user or password in its URL; expected the token in token-file=FILE or in ${TOKEN_VARIABLE}`;
  }
  const [, bracketed, plain, digits = ""] = AUTHORITY.exec(authority) ?? [];
  const host = (bracketed ?? plain)?.toLowerCase();
  const port = Number(digits);
  if (host === undefined || port > 65_535) {
    return `${JSON.stringify(authority)} is no place to listen on; expected HOST:PORT, with a port from 0 to 65535`;
  }
  const events = path === "" || path === "/" ? DEFAULT_PATH : path;
  if (!PATH.test(events)) return "has a path of other characters than letters, digits, dots, - _ ~ and /";
  if ((HEALTH_PATHS as readonly string[]).includes(events)) {
    return `${events} answers to health checks; expected another path, such as ${DEFAULT_PATH}`;
  }
  const files = readFiles(query);
  if (typeof files === "string") return files;
  const tls = tlsOf(scheme.toLowerCase(), files);
  if (typeof tls === "string") return tls;
  return { kind: "http", host, port, path: events, tls, tokenFile: files.get("token-file") };
}

/** The URL for people, with the port that is really listened on; nothing of its query. */
export function urlText({ tls, host, path }: HttpSpec, port: number): string {
  return `${tls === undefined ? "http" : "https"}://${host.includes(":") ? `[${host}]` : host}:${port}${path}`;
}

function readFiles(query: string): ReadonlyMap<string, string> | string {
  const files = new Map<string, string>();
  const expected = `expected ${PARAMETERS.slice(0, -1).join(", ")} or ${PARAMETERS.at(-1)}`;
  for (const pair of query.split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = PARAMETERS.find((known) => known === (equals < 0 ? pair : pair.slice(0, equals)));
    // Only a name that is known is repeated: anything else may be a token that was put into the URL.
    if (name === undefined) return `has a parameter in its URL that is not known; ${expected}`;
    const file = equals < 0 ? "" : decoded(pair.slice(equals + 1));
    if (file === undefined || file === "" || file.includes("\0")) {
      return `${name}: has no value that is the path of a file`;
    }
    if (files.has(name)) return `${name}: is there more than once`;
    files.set(name, file);
  }
  return files;
}

/** A plus is a plus: this is the path of a file, no form. */
function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function tlsOf(scheme: string, files: ReadonlyMap<string, string>): HttpSpec["tls"] | string {
  const [certFile, keyFile] = [files.get("cert"), files.get("key")];
  if (scheme === "https") {
    if (certFile === undefined || keyFile === undefined) {
      return "listens with TLS and lacks a certificate; expected https://HOST:PORT/PATH?cert=FILE&key=FILE";
    }
    return { certFile, keyFile };
  }
  if (certFile === undefined && keyFile === undefined) return undefined;
  return "has a certificate and listens without TLS; expected https:// instead of http://";
}
