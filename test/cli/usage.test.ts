import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { VERSION } from "../../src/version.ts";
import { RECORDINGS, ROOT, run, temporary, type Call } from "./program.ts";

const RUN_ID = "0199c2f4-7c1e-7d3a-9b59-3f1f0a6f7e11";

/** What is refused with status 2, and all that is said about it. */
const refused: readonly (Call & { readonly says: string })[] = [
  { args: [], says: "behest-otel: no command given\nTry: behest-otel --help\n" },
  { args: ["ru"], says: "behest-otel: ru: no such command; did you mean run?\nTry: behest-otel --help\n" },
  { args: ["zzz"], says: "behest-otel: zzz: no such command\nTry: behest-otel --help\n" },
  {
    args: ["run", "--agnet-name", "x"],
    says: "behest-otel run: --agnet-name: no such option; did you mean --agent-name?\nTry: behest-otel run --help\n",
  },
  { args: ["run", "-x"], says: "behest-otel run: -x: no such option\nTry: behest-otel run --help\n" },
  {
    args: ["run", "--run-idle-timeout", "10x"],
    says:
      'behest-otel run: --run-idle-timeout: "10x" is not valid; expected a duration such as 10m, 2s or 250ms, ' +
      "from 1ms to 8760h\nTry: behest-otel run --help\n",
  },
  {
    args: [
      "run",
      "--from",
      "http://127.0.0.1:0/",
      "--run-idle-timeout",
      "2s",
      "--tool-idle-timeout",
      "2001ms",
    ],
    says:
      "behest-otel run: --run-idle-timeout: expected more than the reorder window of 2s\n" +
      "Try: behest-otel run --help\n",
  },
  {
    args: ["run", "--reorder-window", "10m", "--tool-idle-timeout", "10m"],
    says:
      "behest-otel run: 2 problems, nothing was started\n" +
      "  --run-idle-timeout: expected more than the reorder window of 10m\n" +
      "  --tool-idle-timeout: expected more than the reorder window of 10m\n" +
      "Try: behest-otel run --help\n",
  },
  {
    args: ["run", "--agent-name", "--follow"],
    says:
      "behest-otel run: 2 problems, nothing was started\n" +
      "  --agent-name: has no value; expected 1 to 200 characters\n" +
      "  --follow: has no file to wait on; expected --from FILE\n" +
      "Try: behest-otel run --help\n",
  },
  {
    args: ["run", "--follow=yes", "--report"],
    says:
      "behest-otel run: 2 problems, nothing was started\n" +
      '  --follow: takes no value, but "yes" was given\n' +
      "  --report: has no value; expected the path of a file\n" +
      "Try: behest-otel run --help\n",
  },
  {
    args: ["run", "events.ndjson"],
    says:
      "behest-otel run: events.ndjson: run takes no argument; did you mean --from events.ndjson?\n" +
      "Try: behest-otel run --help\n",
  },
  {
    args: ["run", "--metrics"],
    says: "behest-otel run: --metrics: is an option of replay, not of run\nTry: behest-otel run --help\n",
  },
  {
    args: ["run", "--from", "amqp://localhost:5672"],
    says:
      'behest-otel run: --from: "amqp://localhost:5672" is not valid; expected - for standard input, the path of a ' +
      "file, http://HOST:PORT/PATH to listen on, redis://HOST?stream=KEY, or nats://HOST?stream=NAME\n" +
      "Try: behest-otel run --help\n",
  },
  {
    args: ["run", "--from", "/nowhere/a.ndjson"],
    says: "behest-otel run: --from: /nowhere/a.ndjson does not exist\nTry: behest-otel run --help\n",
  },
  {
    args: ["run", "--from", "-", "--from", "-"],
    says: "behest-otel run: --from: - is named more than once\nTry: behest-otel run --help\n",
  },
  {
    args: [
      "run",
      "--from",
      "http://0.0.0.0:4320",
      "--from",
      "http://user:s3cret@127.0.0.1:1",
      "--report",
      "/nowhere/r",
    ],
    env: { OTEL_EXPORTER_OTLP_PROTOCOL: "http" },
    says:
      "behest-otel run: 4 problems, nothing was started\n" +
      "  --from: has a user or password in its URL; expected the token in token-file=FILE or in " +
      "BEHEST_OTEL_HTTP_TOKEN\n" +
      "  --from: http://0.0.0.0:4320/v1/events can be reached from other machines and has no token; expected " +
      "token-file=FILE in its URL, BEHEST_OTEL_HTTP_TOKEN, or --insecure-listen\n" +
      "  --report: /nowhere/r cannot be made: /nowhere does not exist\n" +
      '  OTEL_EXPORTER_OTLP_PROTOCOL: "http" is not valid; expected one of http/protobuf, http/json, grpc\n' +
      "Try: behest-otel run --help\n",
  },
  {
    args: ["run", "--from", "https://127.0.0.1:1?cert=/nowhere/c&key=/&token-file=/nowhere/t"],
    says:
      "behest-otel run: 3 problems, nothing was started\n" +
      "  --from: /nowhere/c does not exist\n" +
      "  --from: / is a directory; expected a file\n" +
      "  --from: /nowhere/t does not exist\n" +
      "Try: behest-otel run --help\n",
  },
  {
    args: [
      "run",
      "--from",
      "http://127.0.0.1:1",
      "--from",
      "http://127.0.0.1:1/x",
      "--from",
      "http://localhost:0/",
    ],
    env: { BEHEST_OTEL_HTTP_TOKEN: "two words" },
    says:
      "behest-otel run: 2 problems, nothing was started\n" +
      "  --from: 127.0.0.1:1 is named more than once\n" +
      "  BEHEST_OTEL_HTTP_TOKEN: is no token; expected printable ASCII without spaces\n" +
      "Try: behest-otel run --help\n",
  },
  {
    args: ["replay", "http://127.0.0.1:1"],
    says:
      "behest-otel replay: http://127.0.0.1:1: is not something that can be read; expected - for standard input, or the " +
      "path of a file\nTry: behest-otel replay --help\n",
  },
  {
    args: ["replay"],
    says: "behest-otel replay: FILE... is missing\nTry: behest-otel replay --help\n",
  },
  {
    args: ["replay", "/", "/nowhere", "nats://x", "-", "-"],
    says:
      "behest-otel replay: 4 problems, nothing was started\n" +
      "  / is a directory; expected a file\n" +
      "  /nowhere does not exist\n" +
      "  nats://x: is not something that can be read; expected - for standard input, or the path of a file\n" +
      "  - is named more than once\n" +
      "Try: behest-otel replay --help\n",
  },
  {
    args: ["view", "--width", "39", "-"],
    says: 'behest-otel view: --width: "39" is not valid; expected a whole number from 40 to 1,000\nTry: behest-otel view --help\n',
  },
  {
    args: ["run", "--report", "/nowhere/r.json", "--dead-letter", "/"],
    says:
      "behest-otel run: 2 problems, nothing was started\n" +
      "  --report: /nowhere/r.json cannot be made: /nowhere does not exist\n" +
      "  --dead-letter: / is a directory; expected a file\n" +
      "Try: behest-otel run --help\n",
  },
  {
    args: ["run", "--config", "/nowhere/c.yaml"],
    says: "behest-otel run: --config: /nowhere/c.yaml does not exist\nTry: behest-otel run --help\n",
  },
  {
    args: ["run"],
    env: { OTEL_SDK_DISABLED: "true" },
    says:
      "behest-otel run: OTEL_SDK_DISABLED: true would take events and send nothing; expected it unset, or the view " +
      "command\nTry: behest-otel run --help\n",
  },
  {
    args: ["replay", join(RECORDINGS, "plain-answer.ndjson")],
    env: { OTEL_EXPORTER_OTLP_PROTOCOL: "http", BEHEST_OTEL_LOG_FORMAT: "xml" },
    says:
      "behest-otel replay: 2 problems, nothing was started\n" +
      '  BEHEST_OTEL_LOG_FORMAT: "xml" is not valid; expected text or json\n' +
      '  OTEL_EXPORTER_OTLP_PROTOCOL: "http" is not valid; expected one of http/protobuf, http/json, grpc\n' +
      "Try: behest-otel replay --help\n",
  },
  {
    args: ["run", "--journal-max", "8MiB"],
    says: "behest-otel run: --journal-max: needs --state-dir, where the journal would be\nTry: behest-otel run --help\n",
  },
  {
    args: ["run", "--from", "/nowhere/a.ndjson", "--state-dir", "/nowhere/state", "--journal-max", "1MiB"],
    says:
      "behest-otel run: 3 problems, nothing was started\n" +
      '  --journal-max: "1MiB" is not valid; expected a size such as 1GiB, 64MiB or 67108864, from 4MiB to 1024GiB\n' +
      "  --from: /nowhere/a.ndjson does not exist\n" +
      "  --state-dir: /nowhere/state cannot be made: /nowhere does not exist\n" +
      "Try: behest-otel run --help\n",
  },
  {
    args: ["run", "--state-dir", ".", "--from", "redis://127.0.0.1", "--from", "nats://127.0.0.1"],
    says:
      "behest-otel run: --state-dir: no source keeps its state there; expected --from -, --from FILE or " +
      "--from http://HOST:PORT/PATH (brokers keep it themselves)\nTry: behest-otel run --help\n",
  },
  {
    args: ["run", "--state-dir", ".", "--from", "package.json", "--from", "./package.json"],
    says:
      `behest-otel run: --from: ${join(ROOT, "package.json")} is named in more than one way, and its state would be too\n` +
      "Try: behest-otel run --help\n",
  },
  {
    args: ["run", "--state-dir", ".", "--from", "/dev/fd/0"],
    says:
      "behest-otel run: --from: /dev/fd/0 is a file descriptor and cannot be read again after a restart; expected " +
      "--from - with --state-dir, or a file\nTry: behest-otel run --help\n",
  },
  {
    args: ["run", "--state-dir", join(RECORDINGS, "plain-answer.ndjson")],
    says:
      `behest-otel run: --state-dir: ${join(RECORDINGS, "plain-answer.ndjson")} is a file; expected a directory\n` +
      "Try: behest-otel run --help\n",
  },
  {
    args: ["run", "--state-dir", ".", "--from", "http://127.0.0.1:0", "--from", "http://127.0.0.1:0"],
    says:
      "behest-otel run: --from: http://127.0.0.1:0/v1/events is named more than once, and its state would be too; " +
      "expected a port or path for each\nTry: behest-otel run --help\n",
  },
  {
    args: ["state", "look", "--state-dir", "/nowhere"],
    says:
      "behest-otel state: 2 problems, nothing was started\n" +
      "  look: cannot be done with a state; expected inspect or reset\n" +
      "  --state-dir: /nowhere does not exist\n" +
      "Try: behest-otel state --help\n",
  },
  {
    args: ["state", "inspect"],
    says:
      "behest-otel state: --state-dir: is missing; expected the directory of a state\n" +
      "Try: behest-otel state --help\n",
  },
  {
    args: ["state"],
    says:
      "behest-otel state: 2 problems, nothing was started\n" +
      "  inspect|reset is missing\n" +
      "  --state-dir: is missing; expected the directory of a state\n" +
      "Try: behest-otel state --help\n",
  },
  {
    args: ["traceparent", "17"],
    says: "behest-otel traceparent: 17: is no run id; expected a hyphenated UUID\nTry: behest-otel traceparent --help\n",
  },
  {
    args: ["traceparent", "00000000-0000-0000-0000-000000000000"],
    says:
      "behest-otel traceparent: 00000000-0000-0000-0000-000000000000: the nil UUID names no run\n" +
      "Try: behest-otel traceparent --help\n",
  },
  {
    args: ["traceparent", RUN_ID, "--tool", "a", "--model", "1", "--parent", "x"],
    says:
      "behest-otel traceparent: 2 problems, nothing was started\n" +
      "  --tool and --model: expected only one of them\n" +
      '  --parent: "x" is no traceparent; expected 00-TRACE_ID-SPAN_ID-FLAGS in lower-case hex\n' +
      "Try: behest-otel traceparent --help\n",
  },
  {
    args: ["traceparent", RUN_ID],
    env: { OTEL_TRACES_SAMPLER: "sometimes", OTEL_METRICS_EXPORTER: "nonsense" },
    says:
      'behest-otel traceparent: OTEL_TRACES_SAMPLER: "sometimes" is not valid; expected one of always_on, always_off, ' +
      "traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio\n" +
      "Try: behest-otel traceparent --help\n",
  },
];

describe("what cannot be done is refused before anything starts", () => {
  test.concurrent.each(refused.map((row) => [row.args.join(" ") || "(nothing)", row] as const))(
    "%s",
    async (_, row) => {
      expect(await run(row)).toEqual({ status: 2, stdout: "", stderr: row.says });
    },
  );

  test("a file of options is read, and all its problems told with those of the command line", async () => {
    const file = temporary("c.yaml", "agnet-name: x\nfollow: maybe\n");
    const { status, stderr } = await run({ args: ["run", "--config", file, "--width", "80"] });
    expect(status).toBe(2);
    expect(stderr.replaceAll(file, "c.yaml")).toBe(
      "behest-otel run: 3 problems, nothing was started\n" +
        "  --width: is an option of view, not of run\n" +
        "  c.yaml:1: agnet-name is no option; did you mean agent-name?\n" +
        '  c.yaml:2: follow: "maybe" is not valid; expected true or false\n' +
        "Try: behest-otel run --help\n",
    );
  });

  test("what stands on a line of its own in an argument cannot forge a line", async () => {
    const { stderr } = await run({ args: ["a\nb\u001b[31m"] });
    expect(stderr).toBe("behest-otel: a\\u000ab\\u001b[31m: no such command\nTry: behest-otel --help\n");
  });
});

test("--version prints the version, whatever else is asked", async () => {
  const expected = { status: 0, stdout: `${VERSION}\n`, stderr: "" };
  expect(await run({ args: ["--version"] })).toEqual(expected);
  expect(await run({ args: ["run", "-V", "--nonsense"] })).toEqual(expected);
});

describe("a Node.js that is too old is told which one is needed", () => {
  const older = ["v20.20.2", "v22.14.0", "v4.0.0"];
  const newer = ["v22.15.0", "v23.0.0", "v100.1.0"];
  const pretend = (version: string) => {
    const source = `Object.defineProperty(process, "version", { value: ${JSON.stringify(version)} })`;
    return [process.execPath, "--import", `data:text/javascript,${encodeURIComponent(source)}`] as const;
  };

  test.concurrent.each(older)("%s", async (version) => {
    expect(await run({ args: ["--version"], node: pretend(version) })).toEqual({
      status: 2,
      stdout: "",
      stderr: `behest-otel: needs Node.js 22.15 or newer, this is ${version}\n`,
    });
  });

  test.concurrent.each(newer)("%s is new enough", async (version) => {
    expect(await run({ args: ["--version"], node: pretend(version) })).toMatchObject({
      status: 0,
      stderr: "",
    });
  });

  const installed = "/usr/bin/node";
  test.runIf(existsSync(installed))("really, where one is installed", async () => {
    const { stderr, status } = await run({ args: ["--version"], node: [installed] });
    if (status === 0) expect(stderr).toBe("");
    else expect(stderr).toMatch(/^behest-otel: needs Node\.js 22\.15 or newer, this is v\d+\.\d+\.\d+\n$/);
  });
});

describe("traceparent", () => {
  // The ids are the published vectors of `behest-otel/1`; here only the command is tested.
  test("prints one line, and the same one whoever asks", async () => {
    const { status, stdout, stderr } = await run({ args: ["traceparent", RUN_ID.toUpperCase()] });
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^00-0199c2f47c1e7d3a9b593f1f0a6f7e11-[0-9a-f]{16}-01\n$/);
    expect((await run({ args: ["traceparent", RUN_ID] })).stdout).toBe(stdout);
  });

  test("names another span for a tool execution and for a model call", async () => {
    const lines = await Promise.all(
      [[], ["--tool", "1"], ["--model", "1"]].map((args) => run({ args: ["traceparent", RUN_ID, ...args] })),
    );
    expect(new Set(lines.map(({ stdout }) => stdout)).size).toBe(3);
  });

  test("takes the trace and the flags of a parent, and those of the sampler without one", async () => {
    const parent = "00-11111111111111111111111111111111-2222222222222222-00";
    expect((await run({ args: ["traceparent", RUN_ID, "--parent", parent] })).stdout).toMatch(
      /^00-1{32}-[0-9a-f]{16}-00\n$/,
    );
    const env = { OTEL_TRACES_SAMPLER: "always_off", OTEL_SDK_DISABLED: "true" };
    expect((await run({ args: ["traceparent", RUN_ID], env })).stdout).toMatch(/-00\n$/);
  });
});
