import { describe, expect, test } from "vitest";
import { configPath, readConfig, type Written } from "../src/config.ts";
import { parseConfigFile } from "../src/config/file.ts";
import { ALL_OPTIONS, COMMANDS, envName, OPTIONS, type Command, type Config } from "../src/config/options.ts";
import { suggest } from "../src/config/suggest.ts";

type Env = Readonly<Record<string, string>>;

interface Given {
  readonly args?: Readonly<Record<string, readonly string[]>>;
  readonly env?: Env;
  readonly file?: string;
}

/** Reads the options of `run` from what is given. */
async function read<C extends Command = "run">({ args = {}, env = {}, file }: Given, command = "run" as C) {
  const written = (name: string, texts: readonly string[]): [string, Written[]] => [
    name,
    texts.map((text) => ({ where: `--${name}`, text })),
  ];
  const parsed = file === undefined ? undefined : await parseConfigFile("c.yaml", file);
  const { config, problems, warnings } = readConfig(command, {
    args: new Map(Object.entries(args).map(([name, texts]) => written(name, texts))),
    env,
    ...(parsed && { file: parsed.entries }),
  });
  return { config, problems: [...(parsed?.problems ?? []), ...problems], warnings };
}

describe("the table of options", () => {
  test("has a default that can be read, for every option that has one", () => {
    for (const option of ALL_OPTIONS) {
      const defaults = typeof option.default === "string" ? [option.default] : (option.default ?? []);
      for (const text of defaults) expect(option.kind?.read(text), `--${option.name}`).not.toBeUndefined();
    }
  });

  test("has no name, and no variable, twice", () => {
    for (const names of [ALL_OPTIONS.map(({ name }) => name), ALL_OPTIONS.map(envName)]) {
      expect(new Set(names).size).toBe(names.length);
    }
  });

  test("explains every option in whole sentences, and gives it to a command", () => {
    for (const option of ALL_OPTIONS) {
      expect(option.help, option.name).toMatch(/^[A-Z].*[.]$/s);
      expect(option.commands.length, option.name).toBeGreaterThan(0);
      expect(option.shape === "flag", option.name).toBe(option.kind === undefined);
    }
  });
});

describe("where a value comes from", () => {
  const given = {
    args: { "agent-name": ["arg"] },
    env: { BEHEST_OTEL_AGENT_NAME: "env" },
    file: "agent-name: file",
  };
  test.each([
    ["the command line before all", given, "arg"],
    ["the environment before the file", { env: given.env, file: given.file }, "env"],
    ["the file before the default", { file: given.file }, "file"],
    ["an empty variable is an unset one", { env: { BEHEST_OTEL_AGENT_NAME: "" }, file: given.file }, "file"],
    ["the last of several on the command line", { args: { "agent-name": ["one", "two"] } }, "two"],
    ["nothing", {}, undefined],
  ])("%s", async (_, from: Given, expected) => {
    expect((await read(from)).config.agentName).toBe(expected);
  });

  test("defaults are those of the design", async () => {
    const expected: Config<"run"> = {
      from: [{ kind: "stdin" }],
      follow: false,
      insecureListen: false,
      shard: undefined,
      agentName: undefined,
      providers: [],
      reorderWindowMs: undefined,
      runIdleTimeoutMs: 600_000,
      toolIdleTimeoutMs: 3_600_000,
      rememberMs: 86_400_000,
      maxOpenRuns: 100_000,
      content: "off",
      errorMessages: "on",
      redact: [],
      stateDir: undefined,
      journalMaxBytes: undefined,
      deadLetter: undefined,
      flushTimeoutMs: 60_000,
      commitIntervalMs: 1_000,
      health: undefined,
      report: undefined,
      logLevel: "info",
      logFormat: "text",
      config: undefined,
    };
    expect((await read({})).config).toEqual(expected);
  });

  test("the path of the file itself comes from the command line or the environment", () => {
    const args = new Map([["config", [{ where: "--config", text: "a.yaml" }]]]);
    expect(configPath({ args, env: { BEHEST_OTEL_CONFIG: "b.yaml" } })).toBe("a.yaml");
    expect(configPath({ args: new Map(), env: { BEHEST_OTEL_CONFIG: "b.yaml" } })).toBe("b.yaml");
    expect(configPath({ args: new Map(), env: { BEHEST_OTEL_CONFIG: "" } })).toBeUndefined();
  });

  test("what concerns one call only is not taken from the environment", async () => {
    const { config, warnings } = await read({ env: { BEHEST_OTEL_TOOL: "call_1" } }, "traceparent");
    expect(config.tool).toBeUndefined();
    expect(warnings).toEqual([
      "BEHEST_OTEL_TOOL: no option has this variable; did you mean BEHEST_OTEL_TOOL_IDLE_TIMEOUT?",
    ]);
  });

  test.each([
    ["true", "span"],
    ["SPAN_ONLY", "span"],
    ["SPAN_AND_EVENT", "span"],
    ["1", "span"],
    ["NO_CONTENT", "off"],
    ["EVENT_ONLY", "off"],
    ["false", "off"],
  ])("the standard variable for content may say %s", async (text, expected) => {
    const standard = { OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: text };
    expect((await read({ env: standard })).config.content).toBe(expected);
    expect((await read({ env: { ...standard, BEHEST_OTEL_CONTENT: "off" } })).config.content).toBe("off");
    expect((await read({ env: standard, file: "content: off" })).config.content).toBe(expected);
  });

  test("an unknown word in the standard variable captures nothing, and is told", async () => {
    const { config, problems, warnings } = await read({
      env: { OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: "spam" },
    });
    expect([config.content, problems]).toEqual(["off", []]);
    expect(warnings).toEqual([
      'OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: "spam" is not a known word and counts as unset',
    ]);
  });
});

describe("values", () => {
  const rows: readonly (readonly [name: string, text: string, expected: unknown])[] = [
    ["from", "-", [{ kind: "stdin" }]],
    ["from", "a.ndjson", [{ kind: "file", path: "a.ndjson" }]],
    ["from", "amqp://localhost:5672/events", undefined],
    ["from", "", undefined],
    [
      "from",
      "http://127.0.0.1:4320",
      [
        {
          kind: "http",
          host: "127.0.0.1",
          port: 4320,
          path: "/v1/events",
          tls: undefined,
          tokenFile: undefined,
        },
      ],
    ],
    ["agent-name", "x".repeat(200), "x".repeat(200)],
    ["agent-name", "x".repeat(201), undefined],
    ["agent-name", "", undefined],
    ["agent-name", "a\nb", undefined],
    ["reorder-window", "0", 0],
    ["reorder-window", "10m", 600_000],
    ["reorder-window", "601s", undefined],
    ["run-idle-timeout", "0", undefined],
    ["run-idle-timeout", "1ms", 1],
    ["max-open-runs", "0", undefined],
    ["max-open-runs", "1", 1],
    ["max-open-runs", "10000000", 10_000_000],
    ["max-open-runs", "10000001", undefined],
    ["max-open-runs", "1e3", undefined],
    ["content", "span", "span"],
    ["content", "true", undefined],
    ["error-messages", "off", "off"],
    ["log-level", "warning", undefined],
    ["dead-letter", "", undefined],
    ["state-dir", "state", "state"],
    ["state-dir", "", undefined],
    ["journal-max", "4MiB", 4_194_304],
    ["journal-max", "4194304", 4_194_304],
    ["journal-max", "4194303", undefined],
    ["journal-max", "4095KiB", undefined],
    ["journal-max", "1GiB", 1_073_741_824],
    ["journal-max", "1TiB", 1_099_511_627_776],
    ["journal-max", "1025GiB", undefined],
    ["journal-max", "8MB", undefined],
    ["journal-max", "1.5GiB", undefined],
    ["journal-max", "", undefined],
    ["provider", "gw=openai", [{ id: "gw", name: "openai", inputExcludesCache: false }]],
    ["provider", "gw=openai,input-excludes-cache", [{ id: "gw", name: "openai", inputExcludesCache: true }]],
    ["provider", "gw=anthropic", [{ id: "gw", name: "anthropic", inputExcludesCache: true }]],
    [
      "provider",
      "gw=anthropic,input-includes-cache",
      [{ id: "gw", name: "anthropic", inputExcludesCache: false }],
    ],
    ["provider", "gw=Bedrock", [{ id: "gw", name: "aws.bedrock", inputExcludesCache: false }]],
    ["provider", "gw", undefined],
    ["provider", "=openai", undefined],
    ["provider", "gw=openai,cache", undefined],
    ["redact", "sk-\\w+", [/sk-\w+/gu]],
    ["redact", "(", undefined],
    ["redact", "x*", undefined],
    ["redact", "", undefined],
  ];

  test.each(rows)("--%s %j", async (name, text, expected) => {
    const [key] = Object.entries(OPTIONS).find(([, option]) => option.name === name) ?? [""];
    const { config, problems } = await read({ args: { [name]: [text] } });
    if (expected === undefined) {
      expect(problems).toEqual([
        expect.stringContaining(`--${name}: ${JSON.stringify(text)} is not valid; expected `),
      ]);
    } else {
      expect([config[key as keyof typeof config], problems]).toEqual([expected, []]);
    }
  });

  test("a list comes from several options, from one variable, or from a list in the file", async () => {
    const expected = ["a", "b"].map((path) => ({ kind: "file", path }));
    for (const given of [
      { args: { from: ["a", "b"] } },
      { env: { BEHEST_OTEL_FROM: "a; b;" } },
      { env: { BEHEST_OTEL_FROM: "\na\nb\n" } },
      { file: "from: [a, b]" },
      { file: "from:\n  - a\n  - b\n" },
    ]) {
      expect((await read(given)).config.from).toEqual(expected);
    }
  });

  test("a flag comes from the variable or the file as true or false", async () => {
    for (const given of [
      { env: { BEHEST_OTEL_FOLLOW: "true" } },
      { env: { BEHEST_OTEL_FOLLOW: "1" } },
      { file: "follow: true" },
    ]) {
      expect((await read(given)).config.follow).toBe(true);
    }
    expect((await read({ env: { BEHEST_OTEL_FOLLOW: "false" } })).config.follow).toBe(false);
    expect((await read({ env: { BEHEST_OTEL_FOLLOW: "yes" } })).problems).toEqual([
      'BEHEST_OTEL_FOLLOW: "yes" is not valid; expected true or false',
    ]);
  });
});

describe("problems", () => {
  test("are all told at once, each with its place", async () => {
    const { problems } = await read({
      args: { "run-idle-timeout": ["10x"], from: ["a", "http://x"] },
      env: { BEHEST_OTEL_MAX_OPEN_RUNS: "many" },
      file: "agent-name: a\n\nlog-level: loud\n",
    });
    expect(problems).toEqual([
      '--from: "x" is no place to listen on; expected HOST:PORT, with a port from 0 to 65535',
      '--run-idle-timeout: "10x" is not valid; expected a duration such as 10m, 2s or 250ms, from 1ms to 8760h',
      'BEHEST_OTEL_MAX_OPEN_RUNS: "many" is not valid; expected a whole number from 1 to 10,000,000',
      'c.yaml:3: log-level: "loud" is not valid; expected one of error, warn, info, debug',
    ]);
  });

  test.each([
    ["agnet-name: x", ["c.yaml:1: agnet-name is no option; did you mean agent-name?"]],
    ["\n\nzzz: x", ["c.yaml:3: zzz is no option"]],
    ["config: x", ["c.yaml:1: config is no option"]],
    ["tool: x", ["c.yaml:1: tool is no option; did you mean tool-idle-timeout?"]],
    ["- a", ['c.yaml:1: expected lines such as "agent-name: support"']],
    [
      "agent-name: {a: b}",
      ["c.yaml:1: agent-name has no plain value; expected a text, a number, true, false or a list of them"],
    ],
    [
      "agent-name:",
      ["c.yaml:1: agent-name has no plain value; expected a text, a number, true, false or a list of them"],
    ],
    ["agent-name: [a, b]", ["c.yaml:1: agent-name: has 2 values; expected one"]],
    ["agent-name: a\nagent-name: b", ["c.yaml:2: Map keys must be unique"]],
    ['agent-name: "a', ['c.yaml:1: Missing closing "quote']],
    ["", []],
    ["# nothing", []],
    ["json: true\nmetrics: true", []],
  ])("of the file %j", async (file, expected) => {
    expect((await read({ file })).problems).toEqual(expected);
  });

  test("a variable that looks misspelt is only a warning, and those of a Kubernetes service are none", async () => {
    const { problems, warnings } = await read({
      env: {
        BEHEST_OTEL_AGNET_NAME: "x",
        BEHEST_OTEL_SERVICE_HOST: "10.0.0.1",
        BEHEST_OTEL_PORT: "tcp://10.0.0.1:4320",
        BEHEST_OTEL_PORT_4320_TCP_ADDR: "10.0.0.1",
      },
    });
    expect(problems).toEqual([]);
    expect(warnings).toEqual([
      "BEHEST_OTEL_AGNET_NAME: no option has this variable; did you mean BEHEST_OTEL_AGENT_NAME?",
    ]);
  });
});

test("every command reads its own options and no others", async () => {
  for (const command of COMMANDS) {
    const { config } = await read({}, command);
    const expected = Object.entries(OPTIONS).filter(([, option]) =>
      (option.commands as readonly string[]).includes(command),
    );
    expect(Object.keys(config)).toEqual(expected.map(([key]) => key));
  }
});

test.each([
  ["agnet-name", "agent-name"],
  ["folow", "follow"],
  ["agent", "agent-name"],
  ["Report", "report"],
  ["x", undefined],
  ["completely-else", undefined],
])("%s was most likely meant to be %s", (word, meant) => {
  expect(
    suggest(
      word,
      ALL_OPTIONS.map(({ name }) => name),
    ),
  ).toBe(meant);
});
