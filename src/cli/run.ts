import type { Config } from "../config/options.ts";
import { readEnvironment } from "../otel/environment.ts";
import { sourcesOf } from "../source/open.ts";
import { deliver } from "./deliver.ts";
import type { ExitStatus, Io } from "./io.ts";

/** `run`: events as they come, until the input ends or the process is asked to stop. */
export async function run(config: Config<"run">, io: Io): Promise<ExitStatus> {
  const { from, follow } = config;
  if (io.stdin.isTTY && from.some(({ kind }) => kind === "stdin")) {
    io.log.info("reading events from this terminal, one JSON object per line; ctrl-D ends them");
  }
  const sources = sourcesOf(from, { follow, stdin: io.stdin, log: io.log });
  return deliver({ config, sources, exports: readEnvironment(io.env).config }, io);
}
