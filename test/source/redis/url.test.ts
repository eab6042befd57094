import { expect, test } from "vitest";

import { stateKey } from "../../../src/source/redis/ownership.ts";
import { parseRedisUrl, redisName, tagOf, type RedisSpec } from "../../../src/source/redis/url.ts";

const PLAIN: RedisSpec = {
  kind: "redis",
  nodes: [{ host: "localhost", port: 6379 }],
  sentinel: undefined,
  tls: undefined,
  username: undefined,
  password: undefined,
  database: 0,
  stream: "behest:events",
  group: "behest-otel",
  start: "0-0",
};
const NO_FILES = { caFile: undefined, certFile: undefined, keyFile: undefined };

test.each<[url: string, spec: Partial<RedisSpec>]>([
  ["redis://localhost", {}],
  ["REDIS://LocalHost:6379?stream=behest:events&group=behest-otel", {}],
  ["redis://localhost/", {}],
  ["redis://localhost/7", { database: 7 }],
  [
    "redis://localhost:7000?stream=a%26b&group=g+h",
    { nodes: [{ host: "localhost", port: 7000 }], stream: "a&b", group: "g+h" },
  ],
  ["redis://user@localhost", { username: "user" }],
  ["redis://:p%40ss@localhost", { password: "p@ss" }],
  ["redis://us%3Aer:pa:ss@localhost", { username: "us:er", password: "pa:ss" }],
  ["redis://[::1]:6380", { nodes: [{ host: "::1", port: 6380 }] }],
  ["redis://localhost?start=new", { start: "$" }],
  ["redis://localhost?start=beginning", { start: "0-0" }],
  ["redis://localhost?start=1700000000000-3", { start: "1700000000000-3" }],
  ["redis://localhost?start=1700000000000", { start: "1700000000000-0" }],
  ["rediss://localhost", { tls: NO_FILES }],
  ["rediss://localhost?ca=/etc/ca.pem", { tls: { ...NO_FILES, caFile: "/etc/ca.pem" } }],
  [
    "redis://a,b:26380?sentinel=main",
    {
      nodes: [
        { host: "a", port: 26_379 },
        { host: "b", port: 26_380 },
      ],
      sentinel: "main",
    },
  ],
])("%s is read", (url, spec) => {
  expect(parseRedisUrl(url)).toEqual({ ...PLAIN, ...spec });
});

test.each<[url: string, problem: string]>([
  ["http://localhost", "is no URL of a Redis stream"],
  ["redis://", "has a host that is none"],
  ["redis://a:0", "has a host that is none"],
  ["redis://a:65536", "has a host that is none"],
  ["redis://a,,b", "has a host that is none"],
  ["redis://localhost/x", "names a database that is no number"],
  [
    "redis://localhost?strem=a",
    "has a parameter strem that is not known; expected stream, group, start, sentinel, ca, cert or key",
  ],
  ["redis://localhost?stream=a&stream=b", "stream: is there more than once"],
  ["redis://localhost?stream=", "stream: has no value that can be used"],
  ["redis://localhost?group=%ZZ", "group: has no value that can be used"],
  ["redis://localhost?stream=a}b", "stream: has a } without a {tag} before it"],
  [
    "redis://localhost?start=soon",
    "start: is none that is known; expected beginning, new or the id of an entry",
  ],
  ["redis://localhost?ca=/etc/ca.pem", "expected rediss:// instead of redis://"],
  ["rediss://localhost?cert=/etc/cert.pem", "has one of cert and key; expected both or none"],
  ["redis://:%ZZ@localhost", "has a user or password with a % that begins no escape"],
])("%s is refused", (url, problem) => {
  expect(parseRedisUrl(url)).toContain(problem);
});

test("every problem is named at once, and nothing that could be secret", () => {
  const problems = parseRedisUrl("redis://user:s3cret@host:x?password=s3cret2&start=s3cret3&%20s3cret4");
  expect(problems).toMatch(/has a parameter password .*has a parameter that .*has a host .*start: is none/);
  expect(problems).not.toContain("s3cret");
});

test("the name of a source has no user, no password and no file", () => {
  const spec = parseRedisUrl("rediss://user:s3cret@host,[::1]:7?stream=s&group=g&ca=/f") as RedisSpec;
  expect(redisName(spec)).toBe("rediss://host:6379,[::1]:7?stream=s");
});

test.each([
  ["behest:events", undefined, "behest-otel:{behest:events}:g:0"],
  ["behest:events", 2, "behest-otel:{behest:events}:g:2"],
  ["a{b}c", undefined, "behest-otel:{b}:a{b}c:g:0"],
])("the state of %s, shard %s, lies beside its stream", (stream, shard, key) => {
  expect(stateKey({ ...PLAIN, stream, group: "g" }, shard)).toBe(key);
  expect(tagOf(key)).toBe(tagOf(stream));
});

// Redis Cluster specification, "Hash tags".
test.each([
  ["{user1000}.following", "user1000"],
  ["foo{}{bar}", "foo{}{bar}"],
  ["foo{{bar}}zap", "{bar"],
  ["foo{bar}{zap}", "bar"],
])("the tag of %s is %s", (key, tag) => {
  expect(tagOf(key)).toBe(tag);
});
