import { parseHttpUrl, TOKEN_VARIABLE, type HttpSpec } from "./http/url.ts";
import { NATS_PASSWORD_VARIABLE, NATS_TOKEN_VARIABLE, parseNatsSpec, type NatsSpec } from "./nats/spec.ts";
import { parseRedisUrl, PASSWORD_VARIABLE, SENTINEL_PASSWORD_VARIABLE, type RedisSpec } from "./redis/url.ts";

/** Events that were kept, or come from a pipe. */
export type RecordingSpec = { readonly kind: "stdin" } | { readonly kind: "file"; readonly path: string };

/** Where events come from, as a command line says it. */
export type SourceSpec = RecordingSpec | HttpSpec | RedisSpec | NatsSpec;

/** The variables that hold what should not stand in a URL. */
export const SECRET_VARIABLES = [
  TOKEN_VARIABLE,
  PASSWORD_VARIABLE,
  SENTINEL_PASSWORD_VARIABLE,
  NATS_PASSWORD_VARIABLE,
  NATS_TOKEN_VARIABLE,
] as const;

/** What may be read from its beginning to its end, for messages and documentation. */
export const RECORDING_FORMS = "- for standard input, or the path of a file";

/** What a source may be, for messages and documentation. */
export const SOURCE_FORMS =
  "- for standard input, the path of a file, http://HOST:PORT/PATH to listen on, redis://HOST?stream=KEY, or " +
  "nats://HOST?stream=NAME";

const URL_SCHEME = /^([a-z][a-z0-9+.-]*):\/\//i;
/** Nobody means a file by that; who does writes `./` before it. */
const HALF_URL = /^(https?|rediss?|nats|tls):(?!\/\/)/i;

/** Reads `-` or a path; undefined for nothing and for a URL. */
export function parseRecordingSpec(text: string): RecordingSpec | undefined {
  if (text === "-") return { kind: "stdin" };
  return text === "" || text.includes("\0") || URL_SCHEME.test(text)
    ? undefined
    : { kind: "file", path: text };
}

/** Reads `-`, a path, or a URL; undefined for nothing and for a URL that nothing here can read. */
export function parseSourceSpec(text: string): SourceSpec | undefined {
  const url = parseUrl(text);
  if (url === undefined) return parseRecordingSpec(text);
  return typeof url === "string" ? undefined : url;
}

/** What exactly is wrong with a URL of a scheme that is known; undefined when nothing is, or it is none. */
export function sourceFault(text: string): string | undefined {
  const url = parseUrl(text);
  return typeof url === "string" ? url : undefined;
}

function parseUrl(text: string): Exclude<SourceSpec, RecordingSpec> | string | undefined {
  const [half] = HALF_URL.exec(text) ?? [];
  if (half !== undefined) return `is no URL; expected ${half.toLowerCase()}//HOST`;
  const [, scheme = ""] = URL_SCHEME.exec(text) ?? [];
  switch (scheme.toLowerCase()) {
    case "http":
    case "https":
      return parseHttpUrl(text);
    case "redis":
    case "rediss":
      return parseRedisUrl(text);
    case "nats":
    case "tls":
      return URL.canParse(text)
        ? parseNatsSpec(new URL(text))
        : "is no URL; expected nats://HOST?stream=NAME";
    default:
      return undefined;
  }
}
