import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll } from "vitest";
import { chainSource } from "../../src/source/chain.ts";
import type { Clock } from "../../src/clock.ts";
import { fileSource } from "../../src/source/file.ts";
import { followSource } from "../../src/source/follow.ts";
import { httpSource } from "../../src/source/http/http.ts";
import { httpInflow } from "../../src/source/http/inflow.ts";
import { journaledInput, streamInflow, type Inflow } from "../../src/source/journaled.ts";
import { keptFile } from "../../src/source/kept-file/kept-file.ts";
import type { Source } from "../../src/source/source.ts";
import { streamSource } from "../../src/source/stream.ts";
import { stateDirectory } from "../../src/state/directory.ts";
import { memoryLog } from "../bridge/memory-log.ts";
import type { Begun, Beside, LogBegun, Place, Refused } from "./contract-life.ts";
import { describeSource } from "./contract.ts";
import { NDJSON, specOf } from "./http/served.ts";
import { describeLogSource } from "./log-contract.ts";
import { keptLog } from "./reader.ts";

const root = mkdtempSync(join(tmpdir(), "behest-otel-contract-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const newPath = (name: string) => join(root, `${(count += 1)}-${name}`);
const { log } = keptLog();
const closed = () => Promise.resolve();
const unkept = (source: Source): Begun => ({ source, store: undefined });

/** The files are there, and empty. */
function filePlace<B extends Begun>(
  begin: (path: string, clock: Clock) => B,
  refused: (begin: (path: string) => Source) => readonly Refused[] = () => [],
): (clock: Clock) => Place<B> {
  return (clock) => {
    const path = newPath("events.ndjson");
    writeFileSync(path, "");
    return {
      append: async (lines) => appendFileSync(path, lines.map((line) => `${line}\n`).join("")),
      begin: () => begin(path, clock),
      refused: () => Promise.resolve(refused((other) => begin(other, clock).source)),
      close: closed,
    };
  };
}

function notFiles(begin: (path: string) => Source): Refused[] {
  const missing = newPath("missing");
  return [
    { what: "a file that does not exist", source: begin(missing), name: `${missing} does not exist` },
    { what: "a directory", source: begin(root), name: `${root} is a directory` },
  ];
}

function pipes(begin: (path: string) => Source): Refused[] {
  const pipe = newPath("pipe");
  execFileSync("mkfifo", [pipe]);
  return [{ what: "a named pipe", source: begin(pipe), name: `${pipe} is a named pipe` }];
}

/** Both files are there; what comes first is in the first one. */
function chainPlace(): Place {
  const paths = [newPath("first.ndjson"), newPath("second.ndjson")] as const;
  for (const path of paths) writeFileSync(path, "");
  let isFirst = true;
  return {
    append: async (lines) => {
      for (const line of lines) {
        appendFileSync(paths[isFirst ? 0 : 1], `${line}\n`);
        isFirst = false;
      }
    },
    begin: () => unkept(chainSource([fileSource(paths[0]), fileSource(paths[1])])),
    refused: () => Promise.resolve(notFiles((path) => chainSource([fileSource(path), fileSource(paths[1])]))),
    close: closed,
  };
}

/** A pipe that holds what was written to it until it is asked for. */
class Pipe {
  readonly #held: (Buffer | null)[] = [];
  #wants = false;
  readonly stream = new Readable({
    read: () => {
      this.#wants = true;
      this.#give();
    },
  });

  get held(): number {
    return this.#held.length;
  }

  write(lines: readonly string[]): void {
    this.#held.push(...lines.map((line) => Buffer.from(`${line}\n`)));
    this.#give();
  }

  end(): void {
    this.#held.push(null);
    this.#give();
  }

  #give(): void {
    while (this.#wants && this.#held.length > 0) this.#wants = this.stream.push(this.#held.shift());
  }
}

/** Each life has a pipe of its own, as each process has a standard input. */
function pipePlace<B extends Begun>(
  begin: (stream: Readable) => B,
): Place<B> & { readonly pipe: () => Pipe } {
  let pipe = new Pipe();
  return {
    pipe: () => pipe,
    append: async (lines) => pipe.write(lines),
    begin: () => {
      const own = new Pipe();
      pipe = own;
      return { ...begin(own.stream), append: async (lines) => own.write(lines) };
    },
    close: closed,
  };
}

function streamPlace(): Place {
  const place = pipePlace((stream) => unkept(streamSource("stdin", stream)));
  return {
    ...place,
    untaken: () => Promise.resolve(place.pipe().held),
    end: () => place.pipe().end(),
  };
}

/** What flows into a journal in one directory, whichever life it is. */
function journaledBy(clock: Clock): (inflow: Inflow) => LogBegun {
  const stateDir = newPath("state");
  return (inflow) =>
    journaledInput(inflow, { stateDir, stateName: "here", clock, log, maxBytes: 10_000_000, groupMs: 0 });
}

function journaledStreamPlace(clock: Clock): Place<LogBegun> {
  const journaled = journaledBy(clock);
  return pipePlace((stream) => journaled(streamInflow("stdin", stream, { clock, log })));
}

const SECRET = "hunter2-hunter2-hunter2";

/** Each life listens on a port of its own; what is appended is posted to the newest. */
function httpPlace<B extends Begun>(begin: (url: string) => B): Place<B> {
  let newest: Source | undefined;
  return {
    append: (lines, beside) => post(newest, lines, beside),
    begin: () => {
      const begun = begin("http://127.0.0.1:0/v1/events");
      newest = begun.source;
      return { ...begun, append: (lines, beside) => post(begun.source, lines, beside) };
    },
    close: closed,
  };
}

async function post(to: Source | undefined, lines: readonly string[], beside?: Beside): Promise<void> {
  const headers = { ...NDJSON, authorization: `Bearer ${SECRET}`, ...headersOf(beside) };
  const { status } = await fetch(to?.name ?? "", { method: "POST", headers, body: lines.join("\n") });
  if (status !== 202) throw new Error(`it was refused with ${status}`);
}

function headersOf(beside: Beside | undefined): Record<string, string> {
  return beside === undefined ? {} : { "behest-agent": beside.agent, traceparent: beside.traceparent };
}

const PROTECTION = { token: SECRET, insecureListen: false };

function plainHttpPlace(clock: Clock): Place {
  const begin = (url: string) => unkept(httpSource(specOf(url), { protection: PROTECTION, clock, log }));
  return withTakenPort(httpPlace(begin), begin);
}

function journaledHttpPlace(clock: Clock): Place<LogBegun> {
  const journaled = journaledBy(clock);
  const begin = (url: string) =>
    journaled(httpInflow(specOf(url), { protection: PROTECTION, clock, log, maxBytes: 10_000_000 }));
  return withTakenPort(httpPlace(begin), begin);
}

function withTakenPort<B extends Begun>(place: Place<B>, begin: (url: string) => B): Place<B> {
  const { source: holder, store } = begin("http://127.0.0.1:0");
  return {
    ...place,
    refused: async () => {
      await store?.open();
      await holder.open();
      const name = new URL(holder.name).host;
      return [{ what: "a port that is taken", source: begin(holder.name).source, name, secret: SECRET }];
    },
    close: async () => {
      await holder.close();
      await store?.close();
    },
  };
}

/** In memory; each event is appended long after it was said that nothing was left. */
function memoryPlace(): Place<LogBegun> {
  const memory = memoryLog([]);
  let nowMs = 0;
  return {
    append: async (lines) => {
      for (const line of lines) memory.append({ line, appendedMs: (nowMs += 100_000_000) });
    },
    begin: () => memory.begin({ batch: () => 3 }),
    close: closed,
  };
}

const FILE = { takesBeside: false, keepsAppends: true } as const;
const STREAM = { takesBeside: false, keepsAppends: false } as const;
const HTTP = { whenRead: "says so", time: "its clock", takesBeside: true, keepsAppends: false } as const;
describeSource(
  "a file that is read once",
  {
    ...FILE,
    whenRead: "ends",
    shows: ["refused"],
  },
  filePlace((path) => unkept(fileSource(path)), notFiles),
);
describeSource(
  "a file that is followed",
  { ...FILE, whenRead: "says so" },
  filePlace((path) => unkept(followSource(path, { log, lookMs: 10 }))),
);
describeSource("several files as one", { ...FILE, whenRead: "ends", shows: ["refused"] }, chainPlace);
describeSource(
  "standard input",
  {
    ...STREAM,
    whenRead: "waits in silence",
    shows: ["untaken"],
  },
  streamPlace,
);
describeSource("HTTP without a state", { ...HTTP, keepsPromises: true, shows: ["refused"] }, plainHttpPlace);

const keptFiles = (follow: boolean, refused: typeof notFiles) =>
  filePlace(
    (path, clock) => ({
      source: keptFile(path, { follow, log, lookMs: 10 }),
      store: stateDirectory(`${path}.state`, path, { clock }),
    }),
    refused,
  );
describeLogSource(
  "a file that is read once, with a state",
  {
    ...FILE,
    whenRead: "ends",
    saysLag: false,
    shows: ["refused"],
  },
  keptFiles(false, (begin) => [...notFiles(begin), ...pipes(begin)]),
);
describeLogSource(
  "a file that is followed, with a state",
  { ...FILE, whenRead: "says so", saysLag: false, shows: ["refused"] },
  keptFiles(true, pipes),
);
describeLogSource(
  "standard input with a journal",
  { ...STREAM, whenRead: "says so", time: "its clock", saysLag: true },
  journaledStreamPlace,
);
describeLogSource("HTTP with a journal", { ...HTTP, saysLag: true, shows: ["refused"] }, journaledHttpPlace);
describeLogSource(
  "the log in memory that other tests use",
  { ...FILE, whenRead: "says so", time: "a server's", saysLag: true },
  memoryPlace,
);
