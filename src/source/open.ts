import type { Readable } from "node:stream";
import type { Log } from "../log.ts";
import { chainSource } from "./chain.ts";
import { fileSource } from "./file.ts";
import { followSource } from "./follow.ts";
import { streamSource } from "./stream.ts";
import type { Source } from "./source.ts";
import type { SourceSpec } from "./spec.ts";

interface Surroundings {
  readonly stdin: Readable;
  readonly log: Log;
}

/** The source for each place events come from, not yet opened. `follow` makes files be waited on. */
export function sourcesOf(
  specs: readonly SourceSpec[],
  options: Surroundings & { readonly follow: boolean },
): Source[] {
  return specs.map((spec) => {
    if (spec.kind === "stdin") return streamSource("stdin", options.stdin);
    return options.follow ? followSource(spec.path, { log: options.log }) : fileSource(spec.path);
  });
}

/** Several recordings as one input, one after another. */
export function recording(specs: readonly SourceSpec[], options: Surroundings): Source {
  const [first, ...others] = sourcesOf(specs, { ...options, follow: false });
  return chainSource(first === undefined ? [streamSource("stdin", options.stdin)] : [first, ...others]);
}
