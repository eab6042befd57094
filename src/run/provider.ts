import type { WireCache, WireUsage } from "../event/event.ts";
import type { Usage } from "./op.ts";

/** What a provider id of the application stands for. */
export interface Provider {
  /** Value of `gen_ai.provider.name`. */
  readonly name: string;
  /** The provider's `input_tokens` leave out cached tokens, which the conventions count as input. */
  readonly inputExcludesCache: boolean;
}

/** Provider ids of the application, by exact id. */
export type ProviderMap = ReadonlyMap<string, Provider>;

/**
 * Ids that name a provider by themselves. Names: GenAI conventions, `gen_ai.provider.name`; only
 * Anthropic's API reports input without its cached part (reference: behest.md, surprise 12).
 */
const WELL_KNOWN: ProviderMap = new Map(
  Object.entries({
    anthropic: "anthropic",
    "aws.bedrock": "aws.bedrock",
    bedrock: "aws.bedrock",
    "azure.ai.inference": "azure.ai.inference",
    "azure.ai.openai": "azure.ai.openai",
    azure: "azure.ai.openai",
    azure_openai: "azure.ai.openai",
    cohere: "cohere",
    deepseek: "deepseek",
    "gcp.gemini": "gcp.gemini",
    gemini: "gcp.gemini",
    "gcp.gen_ai": "gcp.gen_ai",
    "gcp.vertex_ai": "gcp.vertex_ai",
    vertex: "gcp.vertex_ai",
    groq: "groq",
    "ibm.watsonx.ai": "ibm.watsonx.ai",
    mistral: "mistral_ai",
    mistral_ai: "mistral_ai",
    moonshot: "moonshot_ai",
    moonshot_ai: "moonshot_ai",
    ollama: "ollama",
    openai: "openai",
    openrouter: "openrouter",
    perplexity: "perplexity",
    x_ai: "x_ai",
    xai: "x_ai",
  }).map(([id, name]) => [id, { name, inputExcludesCache: name === "anthropic" }]),
);

const ANTHROPIC: Provider = { name: "anthropic", inputExcludesCache: true };

/**
 * The provider behind an id of the application: the given map first, then well-known ids, then the
 * model's prefix; what stays unknown passes in lower case.
 */
export function providerOf(id: string, model: string, given: ProviderMap): Provider {
  const lower = id.toLowerCase();
  const known = given.get(id) ?? WELL_KNOWN.get(lower);
  if (known !== undefined) return known;
  if (model.startsWith("claude-")) return ANTHROPIC;
  return { name: lower, inputExcludesCache: false };
}

export type CacheTokens = Pick<Usage, "cacheRead" | "cacheWrite">;

/** The cache numbers of a usage in the conventions' terms: `cached` is the older name of a read. */
function cacheOf(wire: WireCache): CacheTokens {
  return { cacheRead: (wire.cacheRead || wire.cached) ?? wire.cacheRead, cacheWrite: wire.cacheCreation };
}

/** The same of CacheMetrics, in which the runtime (0.5.9) writes 0 for what no provider reported. */
export function reportedCache(wire: WireCache): CacheTokens {
  const { cacheRead, cacheWrite } = cacheOf(wire);
  return { cacheRead: cacheRead || undefined, cacheWrite: cacheWrite || undefined };
}

/** Tokens as the conventions count them: input includes what was read from and written to a cache. */
export function normalise(wire: WireUsage, provider: Provider): Usage {
  const { cacheRead, cacheWrite } = cacheOf(wire);
  return {
    input: wire.input + (provider.inputExcludesCache ? (cacheRead ?? 0) + (cacheWrite ?? 0) : 0),
    output: wire.output,
    cacheRead,
    cacheWrite,
  };
}

/** Adds two usages; a cache number that neither observed stays unobserved. */
export function addUsage(a: Usage | undefined, b: Usage): Usage {
  if (a === undefined) return b;
  return {
    input: a.input + b.input,
    output: a.output + b.output,
    cacheRead: addObserved(a.cacheRead, b.cacheRead),
    cacheWrite: addObserved(a.cacheWrite, b.cacheWrite),
  };
}

function addObserved(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : a + (b ?? 0);
}
