import { stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Command, Config } from "../config/options.ts";
import { formatDuration } from "../duration.ts";
import { DEFAULT_REORDER_MS } from "../run/limits.ts";
import { systemReason } from "../errors.ts";
import { foldUuid, NIL_UUID } from "../event/uuid.ts";
import { parseTraceparent } from "../event/traceparent.ts";
import type { Problem } from "../otel/variables.ts";
import { exposureFault, isToken } from "../source/http/exposure.ts";
import { TOKEN_VARIABLE, urlText, type HttpSpec } from "../source/http/url.ts";
import { rereadFault } from "../source/kept-file/reread-fault.ts";
import { serverText } from "../source/nats/spec.ts";
import { redisName } from "../source/redis/url.ts";
import { parseRecordingSpec, RECORDING_FORMS, type RecordingSpec, type SourceSpec } from "../source/spec.ts";
import { fileIdentity } from "./file-identity.ts";

export interface Checked {
  readonly command: Command;
  /** May lack values that could not be read: those were told already. */
  readonly config: Partial<Config<"run"> & Config<"replay"> & Config<"traceparent"> & Config<"state">>;
  readonly operands: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** What is wrong although every value reads well: looked for before anything is started. */
export async function checkCommand({ command, config, operands, env }: Checked): Promise<string[]> {
  switch (command) {
    case "run":
      return [
        ...(await checkRun(config, env)),
        ...checkWaits(config),
        ...(await checkKeeping(config)),
        ...(await checkOutputs(config)),
        ...(await checkFeedback(
          config.deadLetter,
          (config.from ?? []).filter((spec) => spec !== undefined),
        )),
        ...(await checkExporting(env)),
      ];
    case "replay":
      return [
        ...(await checkFiles(operands)),
        ...checkWaits(config),
        ...(await checkOutputs(config)),
        ...(await checkFeedback(config.deadLetter, operands.map(parseRecordingSpec))),
        ...(await checkExporting(env)),
      ];
    case "view":
      return [...(await checkFiles(operands)), ...checkWaits(config)];
    case "traceparent":
      return [...checkTarget(config, operands), ...(await checkSampler(env))];
    case "state":
      return checkState(config, operands);
  }
}

async function checkRun(
  { from, follow, insecureListen = false }: Checked["config"],
  env: Checked["env"],
): Promise<string[]> {
  const specs = (from ?? []).filter((spec) => spec !== undefined);
  const listening = specs.filter((spec) => spec.kind === "http");
  const problems = [
    ...repeated(specs, "--from"),
    ...(await checkListening(listening, { insecureListen, env })),
  ];
  const files = specs.filter((spec) => spec.kind === "file");
  if (follow) {
    const readable = specs.length === from?.length;
    return readable && files.length === 0
      ? [...problems, "--follow: has no file to wait on; expected --from FILE"]
      : problems;
  }
  for (const { path } of files) problems.push(...(await unreadable(path, "--from")));
  return problems;
}

/** A run that is given up sooner than its events are used would fall to pieces, one for each of them. */
function checkWaits({ from, reorderWindowMs, ...timeouts }: Checked["config"]): string[] {
  const keepOrder = (from ?? []).every((spec) => spec?.kind === "stdin" || spec?.kind === "file");
  const windowMs = reorderWindowMs ?? (keepOrder ? 0 : DEFAULT_REORDER_MS);
  const named = [
    ["--run-idle-timeout", timeouts.runIdleTimeoutMs],
    ["--tool-idle-timeout", timeouts.toolIdleTimeoutMs],
  ] as const;
  return named
    .filter(([, ms]) => ms !== undefined && ms <= windowMs)
    .map(([name]) => `${name}: expected more than the reorder window of ${formatDuration(windowMs)}`);
}

/** What `--state-dir` and `--journal-max` need, and who would use them. */
async function checkKeeping({ from, stateDir, journalMaxBytes }: Checked["config"]): Promise<string[]> {
  if (stateDir === undefined) {
    return journalMaxBytes === undefined
      ? []
      : ["--journal-max: needs --state-dir, where the journal would be"];
  }
  const problems: string[] = [];
  const stats = await stat(stateDir).catch(() => undefined);
  if (stats?.isDirectory() === false) {
    problems.push(`--state-dir: ${stateDir} is a file; expected a directory`);
  }
  if (stats === undefined) {
    const parent = dirname(stateDir);
    const reason = await directoryFault(parent);
    if (reason !== undefined) problems.push(`--state-dir: ${stateDir} cannot be made: ${parent} ${reason}`);
  }
  const specs = (from ?? []).filter((spec) => spec !== undefined);
  const anyPort = specs.flatMap((spec) =>
    spec.kind === "http" && spec.port === 0 ? [urlText(spec, 0)] : [],
  );
  for (const url of new Set(anyPort.filter((one, index) => anyPort.indexOf(one) !== index))) {
    problems.push(
      `--from: ${url} is named more than once, and its state would be too; expected a port or path for each`,
    );
  }
  problems.push(...(await checkKeptFiles(specs)));
  const isRead = specs.length === from?.length;
  if (isRead && specs.every(({ kind }) => kind === "redis" || kind === "nats")) {
    problems.push(
      "--state-dir: no source keeps its state there; expected --from -, --from FILE or --from http://HOST:PORT/PATH " +
        "(brokers keep it themselves)",
    );
  }
  return problems;
}

/** Files that are to be read on in the next life. */
async function checkKeptFiles(specs: readonly SourceSpec[]): Promise<string[]> {
  const paths = specs.flatMap((spec) => (spec.kind === "file" ? [spec.path] : []));
  const problems: string[] = [];
  for (const path of paths) {
    const fault = await rereadFault(path);
    if (fault !== undefined) problems.push(`--from: ${path} ${fault}`);
  }
  const distinct = new Set(paths);
  const files = [...distinct].map((path) => resolve(path));
  for (const path of new Set(files.filter((file, index) => files.indexOf(file) !== index))) {
    problems.push(`--from: ${path} is named in more than one way, and its state would be too`);
  }
  return problems;
}

const STATE_ACTIONS = ["inspect", "reset"];

async function checkState({ stateDir }: Checked["config"], [action]: readonly string[]): Promise<string[]> {
  const problems: string[] = [];
  if (action !== undefined && !STATE_ACTIONS.includes(action)) {
    problems.push(`${action}: cannot be done with a state; expected ${STATE_ACTIONS.join(" or ")}`);
  }
  if (stateDir === undefined) {
    return [...problems, "--state-dir: is missing; expected the directory of a state"];
  }
  const fault = await directoryFault(stateDir);
  return fault === undefined ? problems : [...problems, `--state-dir: ${stateDir} ${fault}`];
}

/** Undefined for a directory. */
async function directoryFault(path: string): Promise<string | undefined> {
  return stat(path).then((stats) => (stats.isDirectory() ? undefined : "is no directory"), systemReason);
}

/** Files that are needed to listen, and who would be listened to. */
async function checkListening(
  specs: readonly HttpSpec[],
  { insecureListen, env }: { readonly insecureListen: boolean; readonly env: Checked["env"] },
): Promise<string[]> {
  const token = env[TOKEN_VARIABLE] || undefined;
  const problems: string[] = [];
  for (const spec of specs) {
    for (const file of [spec.tls?.certFile, spec.tls?.keyFile, spec.tokenFile]) {
      if (file !== undefined) problems.push(...(await unreadable(file, "--from")));
    }
    const fault = exposureFault(spec, { token, insecureListen });
    if (fault !== undefined) problems.push(`--from: ${fault}`);
  }
  if (specs.length > 0 && token !== undefined && !isToken(token)) {
    problems.push(`${TOKEN_VARIABLE}: is no token; expected printable ASCII without spaces`);
  }
  return problems;
}

/** The operands of `replay` and `view`. */
async function checkFiles(operands: readonly string[]): Promise<string[]> {
  const problems: string[] = [];
  const specs: RecordingSpec[] = [];
  for (const operand of operands) {
    const spec = parseRecordingSpec(operand);
    if (spec === undefined) {
      problems.push(`${operand}: is not something that can be read; expected ${RECORDING_FORMS}`);
      continue;
    }
    specs.push(spec);
    if (spec.kind === "file") problems.push(...(await unreadable(spec.path, undefined)));
  }
  return [...problems, ...repeated(specs, undefined)];
}

function repeated(specs: readonly SourceSpec[], option: string | undefined): string[] {
  const names = specs.map(nameOf);
  const twice = new Set(names.filter((name, index) => names.indexOf(name) !== index));
  return [...twice].map(
    (name) => `${option === undefined ? "" : `${option}: `}${name} is named more than once`,
  );
}

/** What two sources must not have in common. */
function nameOf(spec: SourceSpec, index: number): string {
  switch (spec.kind) {
    case "stdin":
      return "-";
    case "file":
      return spec.path;
    case "http":
      // Any free port is another one each time.
      return spec.port === 0 ? `http ${index}` : `${spec.host}:${spec.port}`;
    case "redis":
      return `${redisName(spec)}&group=${spec.group}`;
    case "nats":
      return `${serverText(spec)}?${spec.mode === "core" ? spec.subject : `stream=${spec.stream}&durable=${spec.durable}`}`;
  }
}

async function unreadable(path: string, option: string | undefined): Promise<string[]> {
  const where = option === undefined ? path : `${option}: ${path}`;
  try {
    return (await stat(path)).isDirectory() ? [`${where} is a directory; expected a file`] : [];
  } catch (error) {
    return [`${where} ${systemReason(error)}`];
  }
}

/** Files that are written at the end: better to know at the beginning that they cannot be. */
async function checkOutputs({ report, deadLetter }: Checked["config"]): Promise<string[]> {
  const problems: string[] = [];
  for (const [option, path] of [["--report", report] as const, ["--dead-letter", deadLetter] as const]) {
    if (path === undefined) continue;
    const isDirectory = await stat(path).then(
      (stats) => stats.isDirectory(),
      () => false,
    );
    if (isDirectory) problems.push(`${option}: ${path} is a directory; expected a file`);
    const directory = dirname(path);
    const reason = await directoryFault(directory);
    if (reason !== undefined) problems.push(`${option}: ${path} cannot be made: ${directory} ${reason}`);
  }
  return problems;
}

/** A file of dead letters that is read while it is written would feed itself for ever. */
async function checkFeedback(
  deadLetter: string | undefined,
  specs: readonly (SourceSpec | undefined)[],
): Promise<string[]> {
  const written = deadLetter === undefined ? undefined : await fileIdentity(deadLetter);
  if (written === undefined) return [];
  for (const spec of specs) {
    if (spec?.kind !== "file" && spec?.kind !== "stdin") continue;
    const [read, name] = spec.kind === "file" ? [spec.path, spec.path] : ([0, "standard input"] as const);
    if ((await fileIdentity(read)) !== written) continue;
    return [
      `--dead-letter: ${deadLetter} is the file that events are read from (${name}), and what is refused again would ` +
        "be read again for ever; expected another file",
    ];
  }
  return [];
}

/** What the standard variables say that cannot be, or would send nothing. */
async function checkExporting(env: Checked["env"]): Promise<string[]> {
  const { readEnvironment } = await import("../otel/environment.ts");
  const { config, problems } = readEnvironment(env);
  const wrong = problems.map(variableProblem);
  if (config.disabled) {
    wrong.push(
      "OTEL_SDK_DISABLED: true would take events and send nothing; expected it unset, or the view command",
    );
  }
  return wrong;
}

/** `traceparent` needs the sampler alone, and works with whatever else is set. */
async function checkSampler(env: Checked["env"]): Promise<string[]> {
  const { readEnvironment } = await import("../otel/environment.ts");
  const { problems } = readEnvironment(env);
  return problems.filter(({ name }) => name.startsWith("OTEL_TRACES_SAMPLER")).map(variableProblem);
}

function variableProblem({ name, value, expected }: Problem): string {
  return `${name}: ${JSON.stringify(value)} is not valid; expected ${expected}`;
}

function checkTarget({ tool, model, parent }: Checked["config"], [runId]: readonly string[]): string[] {
  const problems: string[] = [];
  const folded = runId === undefined ? undefined : foldUuid(runId);
  if (runId !== undefined && folded === undefined) {
    problems.push(`${runId}: is no run id; expected a hyphenated UUID`);
  }
  if (folded === NIL_UUID) problems.push(`${runId}: the nil UUID names no run`);
  if (tool !== undefined && model !== undefined) {
    problems.push("--tool and --model: expected only one of them");
  }
  if (parent !== undefined && parseTraceparent(parent) === undefined) {
    problems.push(
      `--parent: ${JSON.stringify(parent)} is no traceparent; expected 00-TRACE_ID-SPAN_ID-FLAGS in lower-case hex`,
    );
  }
  return problems;
}
