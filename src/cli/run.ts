import { systemClock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import { readEnvironment } from "../otel/environment.ts";
import { inputsOf } from "../source/open.ts";
import { deliver } from "./deliver.ts";
import type { ExitStatus, Io } from "./io.ts";

/** `run`: events as they come, until the input ends or the process is asked to stop. */
export async function run(config: Config<"run">, io: Io): Promise<ExitStatus> {
  const { from, follow, insecureListen, stateDir, journalMaxBytes } = config;
  // One shard of one has all the runs: it is what a process without shards is.
  const shard = config.shard?.count === 1 ? undefined : config.shard;
  const { stdin, log, env } = io;
  if (stdin.isTTY && from.some(({ kind }) => kind === "stdin")) {
    log.info("reading events from this terminal, one JSON object per line; ctrl-D ends them");
  }
  const inputs = inputsOf(from, {
    stdin,
    log,
    env,
    clock: systemClock,
    random: Math.random,
    follow,
    insecureListen,
    shard: shard?.index,
    state: stateDir === undefined ? undefined : { directory: stateDir, journalMaxBytes },
  });
  return deliver({ config, inputs, shard, exports: readEnvironment(env).config }, io);
}
