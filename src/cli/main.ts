import { configPath, readConfig, type ConfigSources } from "../config.ts";
import type { Command, Config } from "../config/options.ts";
import { formatDuration } from "../duration.ts";
import { BridgeError, ERROR_CODES } from "../errors.ts";
import { createLog, visible, type Log } from "../log.ts";
import { VERSION } from "../version.ts";
import { parseArgs } from "./args.ts";
import { consoleTo } from "./console.ts";
import type { ExitStatus, Io } from "./io.ts";

/** The program: reads the arguments, does what they ask, and ends the process. Never rejects. */
export async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseArgs(argv);
  guardStreams(parsed.asks === "command" && (parsed.command === "run" || parsed.command === "replay"));
  const name = parsed.asks === "command" ? `behest-otel ${parsed.command}` : "behest-otel";
  process.on("uncaughtException", (error) => process.exit(explain(name, error)));
  let status: ExitStatus;
  try {
    status = await carryOut(parsed);
  } catch (error) {
    status = explain(name, error);
  }
  // What was written to a pipe may still be on its way.
  process.stdout.write("", () => process.exit(status));
}

async function carryOut(parsed: ReturnType<typeof parseArgs>): Promise<ExitStatus> {
  switch (parsed.asks) {
    case "version":
      process.stdout.write(`${VERSION}\n`);
      return 0;
    case "help": {
      const { helpText } = await import("./help.ts");
      process.stdout.write(helpText(parsed.command));
      return 0;
    }
    case "nothing":
      throw new BridgeError("BEHEST_USAGE", parsed.problems);
    case "command":
      return carryOutCommand(parsed);
  }
}

type Asked = Extract<ReturnType<typeof parseArgs>, { asks: "command" }>;

/** The one place where a command's options become its configuration: all problems at once, or none. */
async function carryOutCommand(asked: Asked): Promise<ExitStatus> {
  const { command, operands } = asked;
  const sources = await configSources(asked);
  const read = async <C extends Command>(which: C): Promise<Config<C>> => {
    const { config, problems, warnings } = readConfig(which, sources.config);
    const { checkCommand } = await import("./checks.ts");
    const wrong = await checkCommand({ command, config, operands, env: process.env });
    const all = [...asked.problems, ...sources.problems, ...problems, ...wrong];
    if (all.length > 0) throw new BridgeError("BEHEST_USAGE", all);
    for (const warning of warnings) process.stderr.write(`behest-otel ${command}: ${visible(warning)}\n`);
    return config;
  };
  switch (command) {
    case "run": {
      const config = await read("run");
      const [{ run }, io] = [
        await import("./run.ts"),
        ioOf(config, (log) => stopOnSignals(log, config.flushTimeoutMs)),
      ];
      return run(config, io);
    }
    case "replay": {
      const config = await read("replay");
      const [{ replay }, io] = [
        await import("./replay.ts"),
        ioOf(config, (log) => stopOnSignals(log, config.flushTimeoutMs)),
      ];
      return replay(config, operands, io);
    }
    case "view": {
      const config = await read("view");
      const [{ view }, io] = [await import("./view.ts"), ioOf(config, stopQuietly)];
      return view(config, operands, io);
    }
    case "traceparent": {
      const config = await read("traceparent");
      const { traceparent } = await import("./traceparent.ts");
      process.stdout.write(`${traceparent(config, operands, process.env)}\n`);
      return 0;
    }
    case "state": {
      const config = await read("state");
      const { state } = await import("./state.ts");
      process.stdout.write(await state(config, operands, new Date()));
      return 0;
    }
  }
}

interface Sources {
  readonly config: ConfigSources;
  readonly problems: readonly string[];
}

async function configSources({ args }: Asked): Promise<Sources> {
  const path = configPath({ args, env: process.env });
  if (path === undefined) return { config: { args, env: process.env }, problems: [] };
  const { readConfigFile } = await import("../config/file.ts");
  const { entries, problems } = await readConfigFile(path);
  return { config: { args, env: process.env, file: entries }, problems };
}

function ioOf(
  { logLevel, logFormat }: Pick<Config<"run">, "logLevel" | "logFormat">,
  signalFor: (log: Log) => AbortSignal,
): Io {
  const log = createLog({
    level: logLevel,
    format: logFormat,
    now: () => new Date(),
    // In a terminal a line of progress may stand there.
    write: (line) => process.stderr.write(process.stderr.isTTY ? `\r\u001b[2K${line}` : line),
  });
  globalThis.console = consoleTo(log);
  const { env, stdin, stdout, stderr } = process;
  return { env, stdin, stdout, stderr, log, signal: signalFor(log) };
}

/** The first signal asks to stop; a second one does not wait for what the first began. */
function stopOnSignals(log: Log, flushTimeoutMs: number): AbortSignal {
  const atMost = formatDuration(flushTimeoutMs);
  const stop = new AbortController();
  const onSignal = (signal: string) => {
    if (stop.signal.aborted) {
      log.error(
        "stopped at once; what was not delivered yet is lost, but for what a state or its source keeps",
        { signal },
      );
      process.exit(1);
    }
    log.info(`stopping: delivering what is left, for at most ${atMost}; once more stops at once`, { signal });
    stop.abort();
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  return stop.signal;
}

/** The first signal ends the reading, and what was read is shown; a second one ends at once. */
function stopQuietly(): AbortSignal {
  const stop = new AbortController();
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(1);
    stop.abort();
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  return stop.signal;
}

/**
 * A reader that has gone, such as `head`, is a quiet end, and a terminal that has gone is nothing to talk about.
 * `delivers`: what cannot be written was to be delivered, and whoever wrote it hears of it and counts it.
 */
function guardStreams(delivers: boolean): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (delivers) return;
    process.exit(error.code === "EPIPE" ? 0 : explain("behest-otel", error));
  });
  process.stderr.on("error", () => {});
}

/** Says on stderr why it ends, and with which status. */
function explain(name: string, error: unknown): ExitStatus {
  if (!(error instanceof BridgeError) || error.code === "BEHEST_BUG") {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.stderr.write(
      `${name}: this is a bug, please report it with these lines (${VERSION}, ${process.version})\n`,
    );
    process.stderr.write(`${text}\n`);
    return 70;
  }
  const { exit } = ERROR_CODES[error.code];
  process.stderr.write(`${sayProblems(name, error)}\n`);
  return exit;
}

function sayProblems(name: string, { code, problems }: BridgeError): string {
  const lines = problems.map(visible);
  const [only] = lines;
  const said =
    lines.length === 1
      ? `${name}: ${only}`
      : `${name}: ${lines.length} problems, nothing was started\n${lines.map((line) => `  ${line}`).join("\n")}`;
  return code === "BEHEST_USAGE" ? `${said}\nTry: ${name} --help` : said;
}
