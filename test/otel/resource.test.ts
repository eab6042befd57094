import { expect, test } from "vitest";

import { createResource } from "../../src/otel/resource.ts";

const CONSTANTS = {
  "telemetry.sdk.language": "nodejs",
  "telemetry.sdk.name": "opentelemetry",
  "telemetry.sdk.version": expect.stringMatching(/^3\./) as string,
};

test("a resource is what the environment says and constants: no host, no process, no arguments", () => {
  expect(createResource({ "service.name": "agents", team: "a" }).attributes).toEqual({
    "service.name": "agents",
    team: "a",
    ...CONSTANTS,
  });
});

test("an instance id is added where one is given, and one of the environment wins", () => {
  expect(createResource({ "service.name": "agents" }, "own").attributes).toMatchObject({
    "service.instance.id": "own",
  });
  expect(createResource({ "service.instance.id": "theirs" }, "own").attributes).toMatchObject({
    "service.instance.id": "theirs",
  });
});
