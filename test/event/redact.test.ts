import { describe, expect, it } from "vitest";
import {
  cutToBytes,
  MAX_ERROR_MESSAGE_BYTES,
  redactErrorMessage,
  redactionOf,
  redactJson,
  redactText,
} from "../../src/event/redact.ts";
import { isSecretName } from "../../src/event/secrets.ts";

const BUILT_IN = redactionOf();

describe("names of secrets", () => {
  it.each([
    "authorization",
    "Authorization",
    "proxy-authorization",
    "password",
    "PASSWORD",
    "db_password",
    "userPassword2",
    "api_key",
    "apiKey",
    "x-api-key",
    "OPENAI_API_KEY",
    "token",
    "access_token",
    "sessionToken",
    "secret",
    "client-secret",
    "aws_secret_access_key",
    "private_key",
    "credentials",
    "Set-Cookie",
    "connectionString",
    "pwd",
    "auth",
  ])("%s is one", (name) => {
    expect(isSecretName(name)).toBe(true);
  });

  it.each([
    "max_tokens",
    "input_tokens",
    "total_tokens",
    "tokens",
    "tokenizer",
    "token_count",
    "secretary",
    "author",
    "bypass",
    "key",
    "keys",
    "monkey",
    "name",
    "",
    "x".repeat(300),
  ])("%s is none", (name) => {
    expect(isSecretName(name)).toBe(false);
  });
});

describe("redacted JSON", () => {
  it("has the values of secret names replaced, of whatever type, at any depth", () => {
    const value = {
      url: "/a",
      headers: [{ Authorization: ["Bearer", "x"] }],
      api_key: 5,
      nested: { client_secret: { a: { b: 1 } }, max_tokens: 100 },
    };
    expect(JSON.parse(redactJson(JSON.stringify(value), BUILT_IN))).toEqual({
      url: "/a",
      headers: [{ Authorization: "[redacted]" }],
      api_key: "[redacted]",
      nested: { client_secret: "[redacted]", max_tokens: 100 },
    });
  });

  it("has secrets in its strings replaced, JSON within a string included", () => {
    const value = [
      "curl -H 'Authorization: Bearer abcdef' x",
      JSON.stringify({ password: "hunter 2", user: "u" }),
    ];
    expect(JSON.parse(redactJson(JSON.stringify(value), BUILT_IN))).toEqual([
      "curl -H 'Authorization: [redacted]' x",
      '{"password":"[redacted]","user":"u"}',
    ]);
  });

  it("finds a name that is written with escapes, and __proto__ is a name like any other", () => {
    expect(redactJson('{"p\\u0061ssword":"x"}', BUILT_IN)).toBe('{"p\\u0061ssword":"[redacted]"}');
    expect(redactJson('{"__proto__":{"token":"x"}}', BUILT_IN)).toBe('{"__proto__":{"token":"[redacted]"}}');
  });

  it("is the same text where there is nothing to redact", () => {
    const text = '{"10":12345678901234567890,"2":"\\u0041"}';
    expect(redactJson(text, BUILT_IN)).toBe(text);
  });
});

describe("redacted text", () => {
  it.each([
    ["Authorization: Bearer abcdef123", "Authorization: [redacted]"],
    ["Authorization: Basic dXNlcjpwYXNz", "Authorization: [redacted]"],
    ["sent bearer abc.def-123 along", "sent bearer [redacted] along"],
    ["Basic dXNlcjpwYXNz=", "Basic [redacted]"],
    ["password=hunter2&user=u", "password=[redacted]&user=u"],
    ["password: hunter2, user: u", "password: [redacted], user: u"],
    ['{"password":"hunter2","user":"u"}', '{"password":"[redacted]","user":"u"}'],
    [String.raw`{\"password\":\"hunter2\",\"user\":1}`, String.raw`{\"password\":\"[redacted]\",\"user\":1}`],
    ["password = 'two words' user", "password = '[redacted]' user"],
    [String.raw`password="a\"b" user`, 'password="[redacted]" user'],
    ['secret => "x"', 'secret => "[redacted]"'],
    ["OPENAI_API_KEY=abc", "OPENAI_API_KEY=[redacted]"],
    ["API key: abc", "API key: [redacted]"],
    ["clientSecret: abc", "clientSecret: [redacted]"],
    ["key sk-proj-abcdefgh12345678 is wrong", "key [redacted] is wrong"],
    ["(sk_live_abcdefgh1234)", "([redacted])"],
    ["AKIAIOSFODNN7EXAMPLE denied", "[redacted] denied"],
    ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln expired", "[redacted] expired"],
    ["ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[redacted]"],
    ["postgres://user:pa@ss@host:5432/db", "postgres://[redacted]@host:5432/db"],
    ["redis://:pw@host and https://host/a@b", "redis://[redacted]@host and https://host/a@b"],
    ["Server=s;Pwd=abc;Database=d", "Server=s;Pwd=[redacted];Database=d"],
    ["Cookie: a=b; c=d\nHost: h", "Cookie: [redacted]\nHost: h"],
    ["a\n-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nb", "a\n[redacted]\nb"],
    ["-----BEGIN PRIVATE KEY-----\ncut off", "[redacted]"],
  ])("of %j is %j", (text, expected) => {
    expect(redactText(text, BUILT_IN)).toBe(expected);
    expect(redactText(expected, BUILT_IN)).toBe(expected);
  });

  it.each([
    "",
    "iteration limit exceeded: 10",
    "token budget exceeded: 1200 > 1000",
    "max_tokens: 4096, input_tokens=12 total_tokens: 40",
    "Basic authentication failed",
    "bearer token expired",
    "bearer authentication is required",
    "password is wrong",
    "the secret of success",
    "https://example.org/path?q=1#x",
    "mail to a@example.org",
    "a task-management-system and the sk-learn library",
    "6f1f6d0e-3c51-4a7e-9b57-0d4cf3a1b2c3",
    "password: ",
  ])("keeps %j", (text) => {
    expect(redactText(text, BUILT_IN)).toBe(text);
  });

  it("has matches of the user's patterns replaced, all of them, with or without their flags", () => {
    const redaction = redactionOf([/customer-\d+/, /ID\d/giy]);
    expect(redactText("customer-1 customer-22 x id1 ID2", redaction)).toBe(
      "[redacted] [redacted] x [redacted] [redacted]",
    );
    expect(redactText("customer-1", redaction)).toBe("[redacted]");
    expect(redactText("password=x", redaction)).toBe("password=[redacted]");
  });

  it("takes milliseconds for a megabyte of any text that could hold it up", () => {
    const parts = [
      "a",
      " ",
      "-",
      "password",
      "password ",
      'password="',
      "token=\\",
      'token="\\\\',
      "token==",
      "token=a ",
      "eyJ",
      "eyJaaaaa.",
      "sk-",
      "sk_",
      "://",
      "://a@",
      "://a:",
      "basic ",
      "basic aaaaaaaa",
      "bearer ",
      "bearer a",
      "-----BEGIN PRIVATE KEY-----",
      "-----BEGIN ",
      "cookie: ",
      "set-cookie",
      "AKIA",
      "AKIAAAAAAAAAAAAAAAAA",
      "pwd  ",
      "ghp_",
      "AIza",
      "api-",
      "secret_",
      "\"'\\",
    ];
    for (const part of parts) {
      const text = part.repeat(Math.ceil(1_048_576 / part.length));
      const start = performance.now();
      redactText(text, BUILT_IN);
      // Some ten milliseconds, on a busy machine more; squared, a thousand million steps at least.
      expect(performance.now() - start, part).toBeLessThan(2_000);
    }
  });

  it("gives up on a text that no pattern gets through, and shows none of it", () => {
    const huge = `token="${"\\a".repeat(20_000_000)}`;
    expect(redactText(huge, BUILT_IN)).toMatch(/^(token=")?\[redacted\]$/);
  });
});

describe("the message of a failure", () => {
  it("is redacted before it is cut", () => {
    const text = `${"x".repeat(MAX_ERROR_MESSAGE_BYTES - 12)} password=hunter2`;
    expect(redactErrorMessage(text, BUILT_IN)).toBe(
      `${"x".repeat(MAX_ERROR_MESSAGE_BYTES - 12)} password=[r`,
    );
    expect(redactErrorMessage(text, BUILT_IN)).not.toContain("hunter");
  });

  it("is at most 1 KiB of UTF-8, whole characters only", () => {
    expect(redactErrorMessage("x".repeat(1_023), BUILT_IN)).toHaveLength(1_023);
    expect(redactErrorMessage("x".repeat(1_024), BUILT_IN)).toHaveLength(1_024);
    expect(redactErrorMessage("x".repeat(1_025), BUILT_IN)).toHaveLength(1_024);
    expect(redactErrorMessage(`${"x".repeat(1_023)}é`, BUILT_IN)).toBe("x".repeat(1_023));
    expect(redactErrorMessage(`${"x".repeat(1_022)}é`, BUILT_IN)).toBe(`${"x".repeat(1_022)}é`);
  });

  it.each([
    ["😀", 3, ""],
    ["😀", 4, "😀"],
    ["a😀", 4, "a"],
    ["日本", 5, "日"],
    ["\ud800x", 4, "\ufffdx"],
    ["abc", 0, ""],
  ])("of %j cut to %i bytes is %j", (text, bytes, expected) => {
    expect(cutToBytes(text, bytes)).toBe(expected);
  });
});
