import { resolve } from "node:path";
import type { Readable } from "node:stream";
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import { stateDirectory } from "../state/directory.ts";
import { relativesOf, type Relative, type StateStore } from "../state/store.ts";
import { chainSource } from "./chain.ts";
import { fileSource } from "./file.ts";
import { followSource } from "./follow.ts";
import { httpSource } from "./http/http.ts";
import { httpInflow } from "./http/inflow.ts";
import { TOKEN_VARIABLE } from "./http/url.ts";
import { keptFile } from "./kept-file/kept-file.ts";
import { journaledInput, streamInflow, type Inflow } from "./journaled.ts";
import { natsCoreSource } from "./nats/core.ts";
import { natsInput } from "./nats/input.ts";
import { redisInput } from "./redis/input.ts";
import { streamSource } from "./stream.ts";
import type { LogSource, Source } from "./source.ts";
import type { RecordingSpec, SourceSpec } from "./spec.ts";

/** A source, and the state of its reading where it keeps one; neither is opened. The state comes first. */
export type Unopened =
  | { readonly source: Source; readonly store?: undefined; readonly relatives?: undefined }
  | {
      readonly source: LogSource;
      readonly store: StateStore;
      readonly relatives: readonly Relative[];
    };

interface Surroundings {
  readonly stdin: Readable;
}

interface LiveSurroundings extends Surroundings {
  readonly log: Log;
  readonly clock: Clock;
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Makes files be waited on. */
  readonly follow: boolean;
  /** Lets anybody send who reaches it. */
  readonly insecureListen: boolean;
  /** The I of `--shard I/N`. */
  readonly shard: number | undefined;
  /** Where the state of sources is kept that have none of their own. */
  readonly state: { readonly directory: string; readonly journalMaxBytes: number | undefined } | undefined;
}

/** Bytes of a journal where nothing else is said. */
const DEFAULT_JOURNAL_BYTES = 1024 ** 3;

/** Each place events come from. */
export function inputsOf(specs: readonly SourceSpec[], options: LiveSurroundings): Unopened[] {
  return specs.map((spec) => inputOf(spec, options));
}

function inputOf(spec: SourceSpec, options: LiveSurroundings): Unopened {
  const { stdin, log, clock, follow, env, insecureListen, shard, state } = options;
  const maxBytes = state?.journalMaxBytes ?? DEFAULT_JOURNAL_BYTES;
  const relatives = (name: string, stateDir: string) =>
    relativesOf(shard).map((other) => stateDirectory(stateDir, stateName(name, other), { clock }));
  const journaled = (inflow: Inflow, stateDir: string) => ({
    ...journaledInput(inflow, { stateDir, stateName: stateName(inflow.name, shard), maxBytes, clock, log }),
    relatives: relatives(inflow.name, stateDir),
  });
  switch (spec.kind) {
    case "stdin":
      return state === undefined
        ? { source: streamSource("stdin", stdin) }
        : journaled(streamInflow("stdin", stdin, { clock, log }), state.directory);
    case "file":
      return state === undefined
        ? { source: follow ? followSource(spec.path, { log }) : fileSource(spec.path) }
        : {
            source: keptFile(spec.path, { follow, log }),
            store: stateDirectory(state.directory, stateName(resolve(spec.path), shard), { clock }),
            relatives: relatives(resolve(spec.path), state.directory),
          };
    case "http": {
      const protection = { token: env[TOKEN_VARIABLE] || undefined, insecureListen };
      return state === undefined
        ? { source: httpSource(spec, { protection, clock, log }) }
        : journaled(httpInflow(spec, { protection, clock, log, maxBytes }), state.directory);
    }
    case "redis":
      return redisInput(spec, options);
    case "nats":
      return spec.mode === "core" ? { source: natsCoreSource(spec, options) } : natsInput(spec, options);
  }
}

/** Processes that share the runs among them have a state each. */
function stateName(name: string, shard: number | undefined): string {
  return shard === undefined ? name : `${name} shard ${shard}`;
}

/** Several recordings as one input, one after another. */
export function recording(specs: readonly RecordingSpec[], { stdin }: Surroundings): Source {
  const sourceOf = (spec: RecordingSpec) =>
    spec.kind === "stdin" ? streamSource("stdin", stdin) : fileSource(spec.path);
  const [first, ...others] = specs.map(sourceOf);
  return chainSource(first === undefined ? [streamSource("stdin", stdin)] : [first, ...others]);
}
