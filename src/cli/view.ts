import type { Config } from "../config/options.ts";
import { Decoder } from "../event/decode.ts";
import { Lane } from "../lane.ts";
import { Ledger } from "../metric/ledger.ts";
import { spanIdOf, traceIdOf } from "../otel/ids.ts";
import { Pipeline, type TellingOp } from "../pipeline.ts";
import { reportOf } from "../report.ts";
import { Assembler } from "../run/assembler.ts";
import { recording } from "../source/open.ts";
import { parseRecordingSpec } from "../source/spec.ts";
import type { Look } from "../viewer/look.ts";
import { View } from "../viewer/view.ts";
import { writeOut, type ExitStatus, type Io } from "./io.ts";
import { decoderOptions, heartOptions } from "./wiring.ts";

/** Milliseconds between two looks at the time while the input is silent. */
const TICK_MS = 250;

/** `view`: every run as a tree when it has ended, and at the end the rest and a summary. */
export async function view(config: Config<"view">, operands: readonly string[], io: Io): Promise<ExitStatus> {
  const specs = operands.map(parseRecordingSpec).filter((spec) => spec !== undefined);
  const source = recording(specs, io);
  const ledger = new Ledger({ source: source.name, agent: config.agentName });
  const told: TellingOp[] = [];
  const pipeline = new Pipeline({
    decoder: new Decoder(decoderOptions(config)),
    heart: new Assembler(heartOptions(config)),
    ledger,
    onOp: (op) => told.push(op),
  });
  const stop = new AbortController();
  io.signal.addEventListener("abort", () => stop.abort(), { once: true });
  const shown = viewOf(config, io);
  const show = async () => {
    if ((await shown.accept(told.splice(0))) === "closed") stop.abort();
  };
  const lane = new Lane({ source, pipeline, deadLetter: undefined, log: io.log, now: Date.now, room: show });
  await source.open();
  const timer = setInterval(() => {
    lane.tick();
    void show();
  }, TICK_MS);
  try {
    await lane.read(stop.signal);
  } finally {
    clearInterval(timer);
    await source.close();
  }
  pipeline.drain();
  await show();
  await shown.end(reportOf(ledger.snapshot("released")).events);
  return 0;
}

function viewOf(config: Config<"view">, { env, stdout }: Io): View {
  const inTerminal = stdout.isTTY === true && env["TERM"] !== "dumb";
  const look = (): Look => ({
    width: config.width ?? stdout.columns ?? 100,
    colour: config.color === "always" || (config.color === "auto" && inTerminal && !env["NO_COLOR"]),
    unicode: !/^(C|POSIX)$/.test(env["LC_ALL"] || env["LC_CTYPE"] || env["LANG"] || ""),
  });
  return new View({
    format: config.json ? "json" : "text",
    look,
    write: (text) => writeOut(stdout, text),
    ids: {
      traceId: (run) => run.parent?.traceId ?? traceIdOf(run.runId),
      spanId: ({ runId, segment }, of) => spanIdOf({ runId, segment, ...of }),
    },
    live: inTerminal && !config.json ? { nowMs: Date.now } : undefined,
  });
}
