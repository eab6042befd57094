import { describe, expect, test } from "vitest";

import { parseNatsSpec, serverText, type NatsSpec } from "../../../src/source/nats/spec.ts";

const parse = (text: string) => parseNatsSpec(new URL(text));

describe("a NATS URL", () => {
  test("needs nothing but a server", () => {
    expect(parse("nats://broker")).toEqual({
      kind: "nats",
      mode: "jetstream",
      host: "broker",
      port: 4222,
      tls: undefined,
      login: {
        name: undefined,
        password: undefined,
        passwordFile: undefined,
        tokenFile: undefined,
        credsFile: undefined,
        nkeyFile: undefined,
      },
      subject: "behest.events",
      stream: "BEHEST",
      durable: "behest-otel",
      create: false,
    } satisfies NatsSpec);
  });

  test("says where and what to read", () => {
    const url = "nats://user:p%40ss@[::1]:1234?subject=a.*.%3E&stream=S&durable=d_1&create=true";
    expect(parse(url)).toMatchObject({
      host: "::1",
      port: 1234,
      subject: "a.*.>",
      stream: "S",
      durable: "d_1",
      create: true,
      login: { name: "user", password: "p@ss" },
    });
  });

  test("of core mode listens to the rooms of all runs unless it says otherwise", () => {
    expect(parse("nats://h?mode=core")).toMatchObject({ mode: "core", subject: "behest.rt.run.*" });
    expect(parse("nats://h?mode=core&subject=x")).toMatchObject({ mode: "core", subject: "x" });
  });

  test("takes certificates with TLS", () => {
    expect(parse("tls://h?ca=a+b.pem&cert=c.pem&key=k.pem")).toMatchObject({
      tls: { caFile: "a+b.pem", certFile: "c.pem", keyFile: "k.pem" },
    });
  });

  test("shows neither user nor query", () => {
    const spec = parse("tls://user:secret@[::1]:4223?token-file=x".replace("user:secret@", ""));
    expect(typeof spec === "string" ? spec : serverText(spec)).toBe("tls://[::1]:4223");
  });

  test.each([
    [
      "nats://h?stream_name=S",
      "stream_name: is no parameter of a NATS source; expected subject, mode, creds,",
    ],
    ["nats://h?s3cr3tT0ken", "is no parameter of a NATS source; expected subject"],
    [
      "nats://h?mode=core&durable=d&create=true",
      "durable, create: nothing is kept in core mode; leave it out",
    ],
    ["nats://h?mode=push", "mode: expected jetstream or core"],
    ["nats://h?subject=a..b", "subject: expected words"],
    ["nats://h?subject=%3E.a", "subject: expected words"],
    ["nats://h?stream=a.b", "stream: expected"],
    ["nats://h?durable=a.b", "durable: expected letters"],
    ["nats://h?create=yes", "create: expected true or false"],
    ["nats://h?subject=a&subject=b", "subject: is there more than once"],
    ["nats://h?subject=%ff", "subject: has no value that can be read"],
    ["nats://h?creds=a&nkey=b", "has several ways to log in (creds, nkey); expected one of them"],
    ["nats://u:p@h?password-file=f", "password-file: there is a password in the URL as well"],
    ["nats://h?password-file=f", "has a password and no user"],
    ["nats://h?ca=f", "expected tls:// instead of nats://"],
    ["tls://h?cert=f", "has a certificate without its key"],
    ["nats://h/BEHEST", "has a path in its URL"],
    ["nats://u:%zz@h", "not percent-encoded"],
  ])("%s is refused", (url, message) => {
    expect(parse(url)).toContain(message);
  });

  test("that is wrong in several ways says all of them, and no secret", () => {
    const problems = parse("nats://hunter2@h/x?creds=f&create=1&hunter3&hunter4=x2");
    expect(typeof problems === "string" && problems.split("; ").length).toBeGreaterThan(3);
    expect(problems).not.toMatch(/hunter[23]/);
  });
});
