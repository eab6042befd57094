import { hash } from "node:crypto";

import { describe, expect, test } from "vitest";

import { createRunSampler, readSampler, type SamplerName } from "../../src/otel/sampling.ts";
import { createVariables } from "../../src/otel/variables.ts";
import { PARENT } from "./span-samples.ts";

const SAMPLED = { ...PARENT, flags: 1 };
const NOT_SAMPLED = { ...PARENT, flags: 0 };

describe("whether a run is sampled", () => {
  test.each<[SamplerName, root: boolean, sampledParent: boolean, otherParent: boolean]>([
    ["always_on", true, true, true],
    ["always_off", false, false, false],
    ["parentbased_always_on", true, true, false],
    ["parentbased_always_off", false, true, false],
  ])("by %s: alone %s, under a sampled parent %s, under another %s", (name, root, sampled, other) => {
    const sampler = createRunSampler({ name, ratio: 1 });
    expect(sampler(PARENT.traceId, undefined)).toBe(root);
    expect(sampler(PARENT.traceId, SAMPLED)).toBe(sampled);
    expect(sampler(PARENT.traceId, NOT_SAMPLED)).toBe(other);
  });

  test.each<[SamplerName]>([["traceidratio"], ["parentbased_traceidratio"]])(
    "by %s: the same for one trace id every time, none at 0, all at 1, about the ratio in between",
    (name) => {
      const ids = Array.from({ length: 2_000 }, (_, at) => hash("sha256", String(at)).slice(0, 32));
      const count = (ratio: number) => {
        const [one, two] = [createRunSampler({ name, ratio }), createRunSampler({ name, ratio })];
        for (const id of ids) expect(one(id, undefined)).toBe(two(id, undefined));
        return ids.filter((id) => one(id, undefined)).length;
      };
      expect(count(0)).toBe(0);
      expect(count(1)).toBe(2_000);
      // Six standard deviations of 2,000 throws of a quarter.
      expect(Math.abs(count(0.25) - 500)).toBeLessThan(117);
    },
  );

  test("by parentbased_traceidratio follows the parent, by traceidratio does not", () => {
    expect(createRunSampler({ name: "parentbased_traceidratio", ratio: 0 })(PARENT.traceId, SAMPLED)).toBe(
      true,
    );
    expect(
      createRunSampler({ name: "parentbased_traceidratio", ratio: 1 })(PARENT.traceId, NOT_SAMPLED),
    ).toBe(false);
    expect(createRunSampler({ name: "traceidratio", ratio: 0 })(PARENT.traceId, SAMPLED)).toBe(false);
  });
});

describe("the sampler's argument", () => {
  test.each([
    ["0", 0],
    ["0.25", 0.25],
    ["1", 1],
    ["1e-3", 0.001],
  ])("%s is a ratio", (arg, ratio) => {
    const { config, problems } = read({ OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: arg });
    expect(config).toEqual({ name: "traceidratio", ratio });
    expect(problems).toEqual([]);
  });

  test.each(["-0.1", "1.1", "half", "NaN"])("%s is a problem", (arg) => {
    const { config, problems } = read({
      OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
      OTEL_TRACES_SAMPLER_ARG: arg,
    });
    expect(config.ratio).toBe(1);
    expect(problems).toEqual([
      { name: "OTEL_TRACES_SAMPLER_ARG", value: arg, expected: "a number from 0 to 1" },
    ]);
  });

  test("is none of the business of a sampler without a ratio", () => {
    expect(read({ OTEL_TRACES_SAMPLER: "always_on", OTEL_TRACES_SAMPLER_ARG: "half" }).problems).toEqual([]);
  });
});

function read(env: Readonly<Record<string, string>>) {
  const variables = createVariables(env, () => Buffer.alloc(0));
  return { config: readSampler(variables), problems: variables.problems };
}
