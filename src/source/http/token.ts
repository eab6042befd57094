import { createHash, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";

import { BridgeError, systemReason } from "../../errors.ts";
import { isToken } from "./exposure.ts";

const BEARER = /^bearer +(\S+) *$/i;

/** Reads the token in a file: its text without the whitespace at its ends. Rejects with `BEHEST_SOURCE_OPEN`. */
export async function readToken(file: string): Promise<string> {
  let text: string;
  try {
    text = (await readFile(file, "utf8")).trim();
  } catch (error) {
    throw new BridgeError("BEHEST_SOURCE_OPEN", `${file} ${systemReason(error)}`, { cause: error });
  }
  if (isToken(text)) return text;
  throw new BridgeError(
    "BEHEST_SOURCE_OPEN",
    `${file} has no token; expected one line of printable ASCII without spaces`,
  );
}

/**
 * Tells whether an `Authorization` header has the bearer token (RFC 6750, section 2.1). How long that takes does
 * not depend on how much of it is right: hashes are compared, in constant time.
 */
export function tokenCheck(
  token: string,
): (authorization: string | undefined) => "missing" | "wrong" | "right" {
  const expected = hashOf(token);
  return (authorization) => {
    const [, given] = BEARER.exec(authorization ?? "") ?? [];
    if (given === undefined) return "missing";
    return timingSafeEqual(hashOf(given), expected) ? "right" : "wrong";
  };
}

function hashOf(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
