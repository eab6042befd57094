import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { nkeys } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { inputOf, NatsServer, STREAM, SUBJECT, type InputOptions } from "./nats-server.ts";

const TLS = join(import.meta.dirname, "../otel/tls");

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "behest-otel-login-"));
});
afterAll(() => {
  rmSync(dir, { recursive: true, force: true });
});

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

async function reads(
  server: NatsServer,
  place: string,
  more = "",
  options: InputOptions = {},
): Promise<void> {
  await using life = await inputOf(place, `&create=true${more}`, options).open();
  await server.append(1);
  const [first] = await life.take(1);
  await life.use([first!]);
}

async function refused(place: string, message: string, more = "", options: InputOptions = {}): Promise<void> {
  await using life = inputOf(place, more, options);
  const failure: unknown = await life.open().catch((error: unknown) => error);
  expect(failure).toMatchObject({
    code: "BEHEST_SOURCE_OPEN",
    message: expect.stringContaining(message),
  });
  expect(String(failure)).not.toMatch(/s3cret|wr0ng/);
}

describe("a user with a password", () => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await NatsServer.start(
      `jetstream {}\nauthorization { users = [{ user: "u", password: "s3cret p@ss" }] }`,
      { user: "u", pass: "s3cret p@ss" },
    );
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });
  const at = (login: string) => `${login}127.0.0.1:${server.port}`;

  test("is taken from the URL", async () => {
    await reads(server, at("u:s3cret%20p%40ss@"));
  });

  test("is taken from a file", async () => {
    await reads(server, at("u@"), `&password-file=${file("password", "s3cret p@ss\n")}`);
  });

  test("is taken from the environment", async () => {
    await reads(server, at("u@"), "", { env: { BEHEST_OTEL_NATS_PASSWORD: "s3cret p@ss" } });
  });

  test.each([
    ["wrong", "u:wr0ng@"],
    ["missing", ""],
    ["taken for a token", "u@"],
  ])("is refused when it is %s, and not repeated", async (_, login) => {
    await refused(at(login), "refused the login: Authorization Violation");
  });

  test("is refused when its file is not there", async () => {
    await refused(at("u@"), `${dir}/none does not exist`, `&password-file=${dir}/none`);
  });
});

describe("a token", () => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await NatsServer.start(`jetstream {}\nauthorization { token: "s3cret" }`, { token: "s3cret" });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  test("is taken from the URL, from a file and from the environment", async () => {
    const place = `127.0.0.1:${server.port}`;
    await reads(server, `s3cret@${place}`);
    await reads(server, place, `&token-file=${file("token", "s3cret\n")}`);
    await reads(server, place, "", { env: { BEHEST_OTEL_NATS_TOKEN: "s3cret" } });
    await refused(`wr0ng@${place}`, "refused the login");
  });
});

describe("a key", () => {
  test("is taken from the file of its seed", async () => {
    const user = nkeys.createUser();
    const seed = new TextDecoder().decode(user.getSeed());
    const { nkeyAuthenticator } = await import("@nats-io/transport-node");
    await using server = await NatsServer.start(
      `jetstream {}\nauthorization { users = [{ nkey: "${user.getPublicKey()}" }] }`,
      { authenticator: nkeyAuthenticator(user.getSeed()) },
    );
    const place = `127.0.0.1:${server.port}`;
    await reads(server, place, `&nkey=${file("seed", `${seed}\n`)}`);
    const other = new TextDecoder().decode(nkeys.createUser().getSeed());
    await refused(place, "refused the login", `&nkey=${file("other", other)}`);
    await refused(place, "bad.seed has no credentials or seed", `&nkey=${file("bad.seed", "s3cret")}`);
  });
});

describe("credentials of an operator's account", () => {
  test("are taken from their file", async () => {
    const [operator, account, user] = [nkeys.createOperator(), nkeys.createAccount(), nkeys.createUser()];
    const unlimited = {
      subs: -1,
      conn: -1,
      leaf: -1,
      imports: -1,
      exports: -1,
      data: -1,
      payload: -1,
      wildcards: true,
    };
    const disk = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
    const accountJwt = jwt(operator, account.getPublicKey(), {
      type: "account",
      limits: { ...unlimited, ...disk },
      default_permissions: {},
    });
    const userJwt = jwt(account, user.getPublicKey(), {
      type: "user",
      subs: -1,
      data: -1,
      payload: -1,
      pub: {},
      sub: {},
    });
    const system = nkeys.createAccount().getPublicKey();
    const systemJwt = jwt(operator, system, { type: "account", limits: unlimited, default_permissions: {} });
    const operatorJwt = jwt(operator, operator.getPublicKey(), { type: "operator", system_account: system });
    const seed = new TextDecoder().decode(user.getSeed());
    const creds = `-----BEGIN NATS USER JWT-----
${userJwt}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
${seed}
------END USER NKEY SEED------
`;
    const { credsAuthenticator } = await import("@nats-io/transport-node");
    await using server = await NatsServer.start(
      `jetstream {}\noperator: ${operatorJwt}\nresolver: MEMORY\nsystem_account: ${system}
resolver_preload: { ${account.getPublicKey()}: ${accountJwt}, ${system}: ${systemJwt} }`,
      { authenticator: credsAuthenticator(Buffer.from(creds)) },
    );
    const place = `127.0.0.1:${server.port}`;
    await reads(server, place, `&creds=${file("user.creds", creds)}`);
    await refused(place, "refused the login");
    await refused(place, "bad.creds has no credentials or seed", `&creds=${file("bad.creds", "s3cret")}`);
  });
});

describe("TLS", () => {
  const pem = (name: string) => join(TLS, name);
  const config = (more: string) => `jetstream {}
tls { cert_file: "${pem("server.pem")}", key_file: "${pem("server-key.pem")}"${more} }`;

  test("is asked for with tls:, and the server's certificate is looked at", async () => {
    const ca = readFileSync(pem("ca.pem"), "utf8");
    await using server = await NatsServer.start(config(""), { tls: { ca } });
    const tls = { scheme: "tls" };
    await reads(server, `localhost:${server.port}`, `&ca=${pem("ca.pem")}`, tls);
    await reads(server, `127.0.0.1:${server.port}`, `&ca=${pem("ca.pem")}`, tls);
    await refused(`localhost:${server.port}`, "certificate", "", tls);
    await refused(`localhost:${server.port}`, `${dir}/none.pem does not exist`, `&ca=${dir}/none.pem`, tls);
  });

  test("may ask for a certificate of ours", async () => {
    const [ca, cert, key] = ["ca.pem", "client.pem", "client-key.pem"].map((name) =>
      readFileSync(pem(name), "utf8"),
    );
    await using server = await NatsServer.start(config(`, ca_file: "${pem("ca.pem")}", verify: true`), {
      tls: { ca: ca!, cert: cert!, key: key! },
    });
    const own = `&ca=${pem("ca.pem")}&cert=${pem("client.pem")}&key=${pem("client-key.pem")}`;
    await reads(server, `localhost:${server.port}`, own, { scheme: "tls" });
    await refused(`localhost:${server.port}`, "", `&ca=${pem("ca.pem")}`, { scheme: "tls" });
  });

  test("that the server does not have is not done without", async () => {
    await using server = await NatsServer.start();
    await refused(`localhost:${server.port}`, "server does not support 'tls'", "", { scheme: "tls" });
  });
});

test("what the account may not do is told", async () => {
  await using server = await NatsServer.start(
    `jetstream {}\nauthorization { users = [
      { user: "all", password: "s3cret" },
      { user: "few", password: "s3cret", permissions: { publish: { deny: ["$JS.API.CONSUMER.DELETE.>"] } } }
    ] }`,
    { user: "all", pass: "s3cret" },
  );
  await server.manager.streams.add({ name: STREAM, subjects: [SUBJECT] });
  await refused(`few:s3cret@127.0.0.1:${server.port}`, "$JS.API.CONSUMER.DELETE.BEHEST.behest-otel");
});

/** A claim as the server reads it, signed by whoever issues it (nats-io/jwt, version 2). */
function jwt(
  issuer: ReturnType<typeof nkeys.createUser>,
  subject: string,
  claim: Record<string, unknown>,
): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const iat = Math.floor(Date.now() / 1_000);
  const claims = { jti: `${iat}`, iat, iss: issuer.getPublicKey(), name: "test", sub: subject };
  const body = `${part({ typ: "JWT", alg: "ed25519-nkey" })}.${part({ ...claims, nats: { version: 2, ...claim } })}`;
  return `${body}.${Buffer.from(issuer.sign(Buffer.from(body))).toString("base64url")}`;
}
