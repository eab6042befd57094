import { describe, expect, test } from "vitest";

import { exposureFault, isLoopback, isToken } from "../../../src/source/http/exposure.ts";
import { parseHttpUrl, urlText } from "../../../src/source/http/url.ts";
import { parseSourceSpec, sourceFault } from "../../../src/source/spec.ts";
import { specOf } from "./served.ts";

const usual = {
  kind: "http",
  host: "127.0.0.1",
  port: 4320,
  path: "/v1/events",
  tls: undefined,
  tokenFile: undefined,
};

describe("a URL to listen on", () => {
  test.each([
    ["http://127.0.0.1:4320", usual],
    ["HTTP://127.0.0.1:4320/", usual],
    ["http://127.0.0.1:4320/v1/events?", usual],
    ["http://LOCALHOST:0/a/b-c_d.e~f", { ...usual, host: "localhost", port: 0, path: "/a/b-c_d.e~f" }],
    ["http://[::1]:80", { ...usual, host: "::1", port: 80 }],
    [
      "http://0.0.0.0:65535?token-file=/run/secrets/a%20b+c",
      { ...usual, host: "0.0.0.0", port: 65_535, tokenFile: "/run/secrets/a b+c" },
    ],
    [
      "https://h.example:443?key=k.pem&token-file=t&cert=c.pem",
      {
        ...usual,
        host: "h.example",
        port: 443,
        tls: { certFile: "c.pem", keyFile: "k.pem" },
        tokenFile: "t",
      },
    ],
  ])("%s", (text, expected) => {
    expect(parseHttpUrl(text)).toEqual(expected);
    expect([parseSourceSpec(text), sourceFault(text)]).toEqual([expected, undefined]);
  });

  test.each([
    ["http://127.0.0.1", "is no place to listen on"],
    ["http://", "is no place to listen on"],
    ["http://:4320", "is no place to listen on"],
    ["http://127.0.0.1:65536", "is no place to listen on"],
    ["http://127.0.0.1:-1", "is no place to listen on"],
    ["http://::1:4320", "is no place to listen on"],
    ["http://127.0.0.1:1/a//b", "has a path of other characters"],
    ["http://127.0.0.1:1/:id", "has a path of other characters"],
    ["http://127.0.0.1:1/*", "has a path of other characters"],
    ["http://127.0.0.1:1/healthz", "answers to health checks"],
    ["http://127.0.0.1:1#x", "is no URL to listen on"],
    ["http://127.0.0.1:1?cert=a&key=b", "expected https://"],
    ["https://127.0.0.1:1", "lacks a certificate"],
    ["https://127.0.0.1:1?cert=a", "lacks a certificate"],
    ["http://127.0.0.1:1?token-file=", "token-file: has no value"],
    ["http://127.0.0.1:1?token-file", "token-file: has no value"],
    ["http://127.0.0.1:1?token-file=%zz", "token-file: has no value"],
    ["http://127.0.0.1:1?token-file=a&token-file=b", "token-file: is there more than once"],
  ])("is refused with a reason: %s", (text, says) => {
    expect(sourceFault(text)).toContain(says);
    expect(parseSourceSpec(text)).toBeUndefined();
  });

  test.each([
    ["http://user:s3cret@127.0.0.1:1", "has a user or password in its URL"],
    ["http://127.0.0.1:1?token=s3cret", "expected cert, key or token-file"],
    ["http://127.0.0.1:1?s3cret", "expected cert, key or token-file"],
  ])("with a secret in it is refused without repeating that: %s", (text, says) => {
    const fault = sourceFault(text);
    expect(fault).toContain(says);
    expect(fault).not.toContain("s3cret");
  });

  test("is shown without its query", () => {
    expect(urlText(specOf("https://[::1]:0/x?cert=a&key=b&token-file=c"), 17)).toBe("https://[::1]:17/x");
  });

  test("is none where it is a file, standard input, or of a scheme that nothing reads", () => {
    for (const text of ["-", "a.ndjson", "http", "ftp://x:1"]) expect(sourceFault(text)).toBeUndefined();
    expect(parseSourceSpec("ftp://x:1")).toBeUndefined();
  });

  test.each(["redis:/x", "redis:x", "NATS:/x", "https:x", "tls:/x"])("is told of half a URL: %s", (text) => {
    const [scheme] = text.toLowerCase().split(":");
    expect([parseSourceSpec(text), sourceFault(text)]).toEqual([
      undefined,
      `is no URL; expected ${scheme}://HOST`,
    ]);
    expect(parseSourceSpec(`./${text}`)).toEqual({ kind: "file", path: `./${text}` });
  });
});

describe("only this machine reaches", () => {
  test.each([
    ["localhost", true],
    ["127.0.0.1", true],
    ["127.255.0.3", true],
    ["::1", true],
    ["::ffff:127.0.0.1", true],
    ["0.0.0.0", false],
    ["::", false],
    ["10.0.0.1", false],
    ["128.0.0.1", false],
    ["127.example.com", false],
    ["localhost.example.com", false],
    ["::ffff:10.0.0.1", false],
  ])("%s: %s", (host, expected) => {
    expect(isLoopback(host)).toBe(expected);
    const url = `http://${host.includes(":") ? `[${host}]` : host}:1`;
    const open = { token: undefined, insecureListen: false };
    expect(exposureFault(specOf(url), open) === undefined).toBe(expected);
    expect(exposureFault(specOf(url), { ...open, insecureListen: true })).toBeUndefined();
    expect(exposureFault(specOf(url), { ...open, token: "t" })).toBeUndefined();
    expect(exposureFault(specOf(`${url}?token-file=f`), open)).toBeUndefined();
  });

  test("a name whose address is another is looked at by its address", () => {
    const open = { token: undefined, insecureListen: false };
    expect(exposureFault(specOf("http://localhost:1"), open, "10.0.0.1")).toContain("has no token");
  });
});

test.each([
  ["t", true],
  ["x".repeat(4_096), true],
  ["x".repeat(4_097), false],
  ["", false],
  ["a b", false],
  ["a\n", false],
  ["é", false],
])("%j may be a token: %s", (text, expected) => {
  expect(isToken(text)).toBe(expected);
});
