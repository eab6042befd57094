import type { Config } from "../config/options.ts";
import type { DecoderOptions } from "../event/decode.ts";
import { HEART_DEFAULTS, type HeartOptions } from "../run/limits.ts";

/** What the commands that read events have in common. */
type Shared = Pick<
  Config<"view">,
  | "agentName"
  | "providers"
  | "reorderWindowMs"
  | "runIdleTimeoutMs"
  | "toolIdleTimeoutMs"
  | "errorMessages"
  | "redact"
>;

/** What the options say to the decoder. */
export function decoderOptions(config: Shared & { readonly content?: "off" | "span" }): DecoderOptions {
  const { errorMessages, redact, content = "off" } = config;
  return { content, errorMessages, redact };
}

/** What the options say to the heart: here nothing waits by default, as for sources that keep their order. */
export function heartOptions(
  config: Shared & Partial<Pick<Config<"run">, "rememberMs" | "maxOpenRuns">>,
): HeartOptions {
  return {
    ...HEART_DEFAULTS,
    agentName: config.agentName,
    providers: new Map(
      config.providers.map(({ id, name, inputExcludesCache }) => [id, { name, inputExcludesCache }]),
    ),
    reorderWindowMs: config.reorderWindowMs ?? 0,
    runIdleMs: config.runIdleTimeoutMs,
    toolIdleMs: config.toolIdleTimeoutMs,
    rememberMs: config.rememberMs ?? HEART_DEFAULTS.rememberMs,
    maxOpenRuns: config.maxOpenRuns ?? HEART_DEFAULTS.maxOpenRuns,
  };
}
