import { readFile } from "node:fs/promises";

import type { Authenticator, ConnectionOptions } from "@nats-io/transport-node";

import { BridgeError, systemReason } from "../../errors.ts";
import { NATS_PASSWORD_VARIABLE, NATS_TOKEN_VARIABLE, type NatsSpec } from "./spec.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Turns the bytes of a file into an authenticator, as the client's `credsAuthenticator` does. */
type Authenticators = Record<
  "credsAuthenticator" | "nkeyAuthenticator",
  (bytes: Uint8Array) => Authenticator
>;

/**
 * What a connection needs to log in and to encrypt: from the URL, from the files it names, and from the
 * environment. Rejects with `BEHEST_SOURCE_OPEN` for a file that cannot be read.
 */
export async function loginOptions(
  { login, tls }: NatsSpec,
  env: Environment,
  authenticators: Authenticators,
): Promise<ConnectionOptions> {
  const options: ConnectionOptions = {};
  if (tls !== undefined) {
    const [ca, cert, key] = await Promise.all([tls.caFile, tls.certFile, tls.keyFile].map(readText));
    options.tls = {
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
    };
  }
  if (login.credsFile !== undefined) {
    const creds = Buffer.from(`${await readText(login.credsFile)}\n`);
    return { ...options, authenticator: proven(authenticators.credsAuthenticator(creds), login.credsFile) };
  }
  if (login.nkeyFile !== undefined) {
    const seed = Buffer.from((await readText(login.nkeyFile)) ?? "");
    return { ...options, authenticator: proven(authenticators.nkeyAuthenticator(seed), login.nkeyFile) };
  }
  if (login.tokenFile !== undefined) return { ...options, ...token(await readText(login.tokenFile)) };
  if (login.name === undefined) return { ...options, ...token(env[NATS_TOKEN_VARIABLE]) };
  const password =
    login.password ?? (await readText(login.passwordFile)) ?? (env[NATS_PASSWORD_VARIABLE] || undefined);
  return {
    ...options,
    ...(password === undefined ? token(login.name) : { user: login.name, pass: password }),
  };
}

function token(text: string | undefined): ConnectionOptions {
  return text === undefined || text === "" ? {} : { token: text };
}

/** Tried once, for a connection that cannot use it says nothing of the file. */
function proven(authenticator: Authenticator, file: string): Authenticator {
  try {
    authenticator("nonce");
    return authenticator;
  } catch (error) {
    const message = `${file} has no credentials or seed that can be read`;
    throw new BridgeError("BEHEST_SOURCE_OPEN", message, { cause: error });
  }
}

/** Without white space at its ends, which an editor may have left there. */
async function readText(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    throw new BridgeError("BEHEST_SOURCE_OPEN", `${file} ${systemReason(error)}`, { cause: error });
  }
}
