/** Where to read events in NATS, as the URL says it. */
export interface NatsSpec {
  readonly kind: "nats";
  /** JetStream keeps events until they are committed; core subjects are live only, at most once. */
  readonly mode: "jetstream" | "core";
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  /** There for `tls:`. Of a server that demands TLS, `nats:` takes it with the system's authorities. */
  readonly tls: NatsTls | undefined;
  readonly login: NatsLogin;
  /** May hold the wildcards `*` and `>`. */
  readonly subject: string;
  /** JetStream only. */
  readonly stream: string;
  readonly durable: string;
  /** Make the stream when it does not exist. */
  readonly create: boolean;
}

/** PEM files. */
export interface NatsTls {
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
}

/** How to log in; what is missing here is looked up in the environment when it is needed. */
export interface NatsLogin {
  /** Before the `@`: a user when there is a password, else a token, as NATS has it. */
  readonly name: string | undefined;
  readonly password: string | undefined;
  readonly passwordFile: string | undefined;
  readonly tokenFile: string | undefined;
  readonly credsFile: string | undefined;
  readonly nkeyFile: string | undefined;
}

/** The variables that hold what the URL should not. */
export const NATS_PASSWORD_VARIABLE = "BEHEST_OTEL_NATS_PASSWORD";
export const NATS_TOKEN_VARIABLE = "BEHEST_OTEL_NATS_TOKEN";

const EVERYWHERE = ["subject", "mode", "creds", "nkey", "token-file", "password-file", "ca", "cert", "key"];
const JETSTREAM_ONLY = ["stream", "durable", "create"];

const DEFAULT_PORT = 4222;
/** What behest's publishers use: `queue/nats.rs`, and the rooms of its stream adapter. */
const DEFAULT_SUBJECT = { jetstream: "behest.events", core: "behest.rt.run.*" } as const;
const DEFAULT_STREAM = "BEHEST";
const DEFAULT_DURABLE = "behest-otel";

/** The server allows 255 characters; some are left for `-shard-I`. */
const MAX_NAME_LENGTH = 200;

/**
 * Reads `nats://[USER:PASSWORD@|TOKEN@]HOST[:PORT]?subject=…&stream=…&durable=…` and `tls://…`. A text
 * says everything that is wrong with the URL, and repeats no part of it that could be a secret.
 */
export function parseNatsSpec(url: URL): NatsSpec | string {
  const problems: string[] = [];
  const given = readParameters(url.search, problems);
  const mode = readMode(given, problems);
  checkPlace(url, problems);

  const subject = given.get("subject") ?? DEFAULT_SUBJECT[mode];
  if (!isSubject(subject)) {
    problems.push("subject: expected words with dots between, where * is one word and > ends it");
  }
  const stream = given.get("stream") ?? DEFAULT_STREAM;
  if (stream.length > MAX_NAME_LENGTH || !/^[^\s.*>/\\\0]+$/.test(stream)) {
    problems.push("stream: expected the name of a stream, without spaces, dots, slashes and wildcards");
  }
  const durable = given.get("durable") ?? DEFAULT_DURABLE;
  if (durable.length > MAX_NAME_LENGTH || !/^[\w-]+$/.test(durable)) {
    problems.push("durable: expected letters, digits, - and _");
  }
  const create = given.get("create") ?? "false";
  if (create !== "true" && create !== "false") problems.push("create: expected true or false");
  const login = readLogin(url, given, problems);
  const tls = readTls(url, given, problems);

  if (problems.length > 0) return problems.join("; ");
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = url.port === "" ? DEFAULT_PORT : Number(url.port);
  return { kind: "nats", mode, host, port, tls, login, subject, stream, durable, create: create === "true" };
}

/** The server for people: nothing of the user, and nothing of the query. */
export function serverText({ tls, host, port }: NatsSpec): string {
  return `${tls === undefined ? "nats" : "tls"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function checkPlace(url: URL, problems: string[]): void {
  if (url.hostname === "" || url.port === "0") {
    problems.push("has no server in its URL; expected nats://HOST:4222");
  }
  if (!/^\/?$/.test(url.pathname) || url.hash !== "") {
    problems.push("has a path in its URL; expected the rest as parameters: nats://HOST:4222?subject=SUBJECT");
  }
}

function readMode(given: ReadonlyMap<string, string>, problems: string[]): "jetstream" | "core" {
  const mode = given.get("mode") ?? "jetstream";
  if (mode !== "jetstream" && mode !== "core") problems.push("mode: expected jetstream or core");
  if (mode !== "core") return "jetstream";
  const idle = JETSTREAM_ONLY.filter((name) => given.has(name));
  if (idle.length > 0) problems.push(`${idle.join(", ")}: nothing is kept in core mode; leave it out`);
  return "core";
}

function readParameters(query: string, problems: string[]): ReadonlyMap<string, string> {
  const given = new Map<string, string>();
  const known = [...EVERYWHERE, ...JETSTREAM_ONLY];
  for (const pair of query.replace(/^\?/, "").split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = equals < 0 ? pair : pair.slice(0, equals);
    if (!known.includes(name)) {
      // Repeated only when it looks like the name of something, and not like a secret.
      const shown = equals > 0 && /^[a-z][a-z_-]{0,19}$/i.test(name) ? `${name}: ` : "";
      problems.push(`${shown}is no parameter of a NATS source; expected ${known.join(", ")}`);
      continue;
    }
    const value = equals < 0 ? "" : decoded(pair.slice(equals + 1));
    if (value === undefined || value === "" || value.includes("\0")) {
      problems.push(`${name}: has no value that can be read`);
    } else if (given.has(name)) {
      problems.push(`${name}: is there more than once`);
    } else {
      given.set(name, value);
    }
  }
  return given;
}

function readLogin(url: URL, given: ReadonlyMap<string, string>, problems: string[]): NatsLogin {
  const [name, password] = [decoded(url.username), decoded(url.password)];
  if (name === undefined || password === undefined) {
    problems.push("has a user or password that is not percent-encoded as it should be");
  }
  const login: NatsLogin = {
    name: name || undefined,
    password: password || undefined,
    passwordFile: given.get("password-file"),
    tokenFile: given.get("token-file"),
    credsFile: given.get("creds"),
    nkeyFile: given.get("nkey"),
  };
  if (login.name === undefined && (login.password ?? login.passwordFile) !== undefined) {
    problems.push("has a password and no user; expected nats://USER@HOST");
  }
  if (login.password !== undefined && login.passwordFile !== undefined) {
    problems.push("password-file: there is a password in the URL as well; expected one of them");
  }
  const ways = [
    login.name === undefined ? undefined : "a user or token before the @",
    login.tokenFile === undefined ? undefined : "token-file",
    login.credsFile === undefined ? undefined : "creds",
    login.nkeyFile === undefined ? undefined : "nkey",
  ].filter((way) => way !== undefined);
  if (ways.length > 1) problems.push(`has several ways to log in (${ways.join(", ")}); expected one of them`);
  return login;
}

function readTls(url: URL, given: ReadonlyMap<string, string>, problems: string[]): NatsTls | undefined {
  const tls = { caFile: given.get("ca"), certFile: given.get("cert"), keyFile: given.get("key") };
  if (url.protocol === "tls:") {
    if ((tls.certFile === undefined) !== (tls.keyFile === undefined)) {
      problems.push("has a certificate without its key, or a key without its certificate; expected both");
    }
    return tls;
  }
  if (tls.caFile !== undefined || tls.certFile !== undefined || tls.keyFile !== undefined) {
    problems.push("has certificates in its URL and does not ask for TLS; expected tls:// instead of nats://");
  }
  return undefined;
}

function isSubject(text: string): boolean {
  const words = text.split(".");
  return words.every(
    (word, index) =>
      /^[^\s*>\0]+$/.test(word) || word === "*" || (word === ">" && index === words.length - 1),
  );
}

/** A plus is a plus: this is no form. */
function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
