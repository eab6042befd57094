import { describe, expect, test } from "vitest";
import { providerOf, type ProviderMap } from "../../src/run/provider.ts";
import type { Usage } from "../../src/run/op.ts";
import { spansOf } from "../viewer/text-tree.ts";
import { play, type Play } from "./play.ts";
import { completed, HOUR, model, said, started, usage, type Tokens } from "./story.ts";

describe("a provider is", () => {
  const given: ProviderMap = new Map([
    ["gw", { name: "openai", inputExcludesCache: true }],
    ["openai", { name: "azure.ai.openai", inputExcludesCache: false }],
  ]);

  test.each<[string, string, string, boolean]>([
    // As given, before anything else, by its exact id.
    ["gw", "claude-opus-4-1", "openai", true],
    ["openai", "gpt-4o", "azure.ai.openai", false],
    ["GW", "gpt-4o", "gw", false],
    // Well known by its id.
    ["anthropic", "whatever", "anthropic", true],
    ["OpenAI", "gpt-4o", "openai", false],
    ["bedrock", "claude-opus-4-1", "aws.bedrock", false],
    ["azure", "gpt-4o", "azure.ai.openai", false],
    ["gemini", "gemini-2.5-pro", "gcp.gemini", false],
    ["mistral", "large", "mistral_ai", false],
    ["xai", "grok-4", "x_ai", false],
    ["deepseek", "chat", "deepseek", false],
    // Known by its model.
    ["my-gateway", "claude-sonnet-4-5", "anthropic", true],
    ["", "claude-", "anthropic", true],
    // Unknown: in lower case.
    ["My-Gateway", "llama-4", "my-gateway", false],
    ["My-Gateway", "anthropic/claude-opus", "my-gateway", false],
    ["constructor", "toString", "constructor", false],
    ["__proto__", "", "__proto__", false],
    ["", "", "", false],
  ])("%s with model %s: %s", (id, modelName, name, inputExcludesCache) => {
    expect(providerOf(id, modelName, given)).toEqual({ name, inputExcludesCache });
  });
});

describe("tokens as the conventions count them", () => {
  const tokens = (provider: string, cache: Tokens, options: Play = {}): Usage | undefined =>
    spansOf(
      play(
        [started(0), model(1, 1, { provider, model: "m" }), usage(2, 100, 20, cache), completed(3)],
        options,
      ),
    )
      .flatMap((span) => (span.kind === "model" ? [span.usage] : []))
      .at(0);

  test.each<[string, string, Tokens, Partial<Usage>]>([
    [
      "input includes what Anthropic read from a cache and wrote to it",
      "anthropic",
      { read: 30, write: 5 },
      { input: 135, cacheRead: 30, cacheWrite: 5 },
    ],
    ["OpenAI's input includes it already", "openai", { cached: 64 }, { input: 100, cacheRead: 64 }],
    ["DeepSeek's too", "deepseek", { read: 64 }, { input: 100, cacheRead: 64 }],
    [
      "an unknown provider's too",
      "my-gateway",
      { read: 64, write: 1 },
      { input: 100, cacheRead: 64, cacheWrite: 1 },
    ],
    [
      "the older name of a read counts only without the newer one",
      "openai",
      { read: 9, cached: 64 },
      { input: 100, cacheRead: 9 },
    ],
    [
      "a read of 0 gives way to the older name",
      "openai",
      { read: 0, cached: 64 },
      { input: 100, cacheRead: 64 },
    ],
    ["0 is observed", "openai", { read: 0, write: 0 }, { input: 100, cacheRead: 0, cacheWrite: 0 }],
    [
      "what nobody reported is not 0",
      "anthropic",
      {},
      { input: 100, cacheRead: undefined, cacheWrite: undefined },
    ],
  ])("%s", (_, provider, cache, expected) => {
    expect(tokens(provider, cache)).toMatchObject({ output: 20, ...expected });
  });

  test("a mapped provider counts as it was mapped", () => {
    const providers: ProviderMap = new Map([["gw", { name: "openai", inputExcludesCache: true }]]);
    expect(tokens("gw", { read: 30 }, { providers })).toMatchObject({ input: 130, cacheRead: 30 });
  });

  test("usage after the close counts as the provider of its run does", () => {
    const claude = { provider: "anthropic", model: "claude-sonnet-4-5" };
    const steps = [started(0, claude), model(1, 1, claude), completed(2), usage(3, 100, 20, { read: 30 })];
    expect(play(steps).filter(({ op }) => op === "late_usage")).toMatchObject([
      { provider: "anthropic", model: "claude-sonnet-4-5", usage: { input: 130, output: 20, cacheRead: 30 } },
    ]);
  });

  test("usage in a later segment without a model call counts as the provider of the one before", () => {
    const claude = { provider: "anthropic", model: "claude-sonnet-4-5" };
    const steps = [started(0, claude), model(1, 1, claude), said(2), usage(HOUR, 100, 20, { write: 7 })];
    expect(play(steps).filter(({ op }) => op === "late_usage")).toMatchObject([
      { provider: "anthropic", model: "claude-sonnet-4-5", usage: { input: 107, cacheWrite: 7 } },
    ]);
  });

  test("usage of a run of which nothing is known has no provider and no model", () => {
    expect(play([usage(1)]).filter(({ op }) => op === "late_usage")).toMatchObject([
      { provider: "", model: "" },
    ]);
  });
});

test("the run's provider and model are RunStarted's, else the first call's", () => {
  const runOf = (steps: Parameters<typeof play>[0]) => spansOf(play(steps)).at(-1);
  const claude = { provider: "anthropic", model: "claude-sonnet-4-5" };
  expect(runOf([started(0), model(1, 1, claude), completed(2)])).toMatchObject({
    provider: "openai",
    model: "gpt-4o",
  });
  expect(runOf([model(1, 1, claude), model(2, 2), completed(3)])).toMatchObject(claude);
  expect(runOf([completed(3)])).toMatchObject({ provider: undefined, model: undefined });
  // Also when it comes late, but not when it says something else again.
  expect(runOf([model(1, 1, claude), started(0), completed(2)])).toMatchObject({ provider: "openai" });
  expect(runOf([started(0), started(1, claude), completed(2)])).toMatchObject({ provider: "openai" });
});
