import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from "vitest";

import { startHttpBackend, type OtlpServer } from "../otel/otlp-server.ts";
import {
  foundTraces,
  ruleFaults,
  samples,
  startWebhook,
  storedIds,
  type Notice,
  type Webhook,
} from "./backends.ts";
import { LiveBridge, retold, runsOf, traceIdOf, type TimedLine } from "./live.ts";
import { hurryRules } from "./quick-rules.ts";
import { startRedis } from "./redis-broker.ts";
import { STREAM } from "./redis-server.ts";
import { eventually } from "./running.ts";
import { startStack, type Stack } from "./stack.ts";

/** What a notification needs at most: a few evaluations, ten seconds of looking back, and a busy machine. */
const PATIENCE = { timeout: 60_000, interval: 200 };
const AGENT = "support";
/** A namespace makes a job of two parts, and Jaeger's service of the second one. */
const SERVICE = {
  OTEL_SERVICE_NAME: "my-agents",
  OTEL_RESOURCE_ATTRIBUTES: "service.namespace=shop",
};
const JOB = "shop/my-agents";

let stack: Stack;
let webhook: Webhook;
let bridge: LiveBridge;
/** The rules as they are run here: shorter in time, otherwise as they are shipped. */
let rules: Awaited<ReturnType<typeof hurryRules>>;
/** What was posted, as the run that it is. */
const told = new Map<string, string>();

beforeAll(async () => {
  webhook = await startWebhook();
  stack = await startStack({ webhook: webhook.url });
  rules = await hurryRules(stack);
  bridge = await startBridge();
});
afterAll(async () => {
  await bridge?.stop();
  await stack?.close();
  await webhook?.close();
});
beforeEach(() =>
  onTestFailed(() => console.error(JSON.stringify(webhook.notices, undefined, 1), stack.logs())),
);

describe("the webhook is told", () => {
  test("of a run that failed, and of one that fell silent, with what leads to them", async () => {
    // The very first that this bridge says: a counter that is born with a failure must raise its alert.
    await tell("token-budget");
    await tell("provider-error");

    const failed = await notice("firing", "BehestRunFailed");
    expect(failed.labels).toEqual({
      alertname: "BehestRunFailed",
      severity: "warning",
      job: JOB,
      gen_ai_agent_name: AGENT,
      error_type: "token_budget_exceeded",
    });
    expect(failed.annotations).toEqual({
      summary: "Runs of agent support fail: token_budget_exceeded",
      description:
        "Failed with token_budget_exceeded in the last five minutes: 1. Agent: support, service: shop/my-agents.",
      runbook_url: "http://localhost:9090/user/runbooks/BehestRunFailed.md",
      traces_url: expect.stringMatching(/^http:\/\/localhost:16686\/search\?/),
    });

    const silent = await notice("firing", "BehestRunExpired");
    expect(silent.labels).toEqual({
      alertname: "BehestRunExpired",
      severity: "warning",
      job: JOB,
      gen_ai_agent_name: AGENT,
      error_type: "run_expired",
    });
    expect(silent.annotations).toMatchObject({
      summary: "Runs of agent support fell silent",
      description:
        "Fell silent without an end, noticed in the last five minutes: 1. Agent: support, service: shop/my-agents.",
    });

    await expectLinks(failed, "token-budget");
    await expectLinks(silent, "provider-error");
  });

  test("that both are over", async () => {
    const alerts = ["BehestRunFailed", "BehestRunExpired"];
    const [failed, silent] = await Promise.all(alerts.map((name) => notice("resolved", name)));
    expect(failed!.labels).toMatchObject({ job: JOB, error_type: "token_budget_exceeded" });
    expect(silent!.labels).toMatchObject({ job: JOB, error_type: "run_expired" });
    await expect.poll(() => active(), PATIENCE).toEqual([]);
  });

  test("of a run that failed, once more after it was over", async () => {
    const before = webhook.notices.length;
    await tell("iteration-limit");
    const again = await notice("firing", "BehestRunFailed", before);
    expect(again.labels).toMatchObject({ error_type: "iteration_limit_exceeded" });
    await expectLinks(again, "iteration-limit");
    // A group that was told of before tells at once of what joins it: the doom loop below could come too late for that.
    await expect.poll(() => active(), PATIENCE).toEqual([]);
  });

  test("of a doom loop as such, and not of the failure that it ended in as well", async () => {
    await tell("doom-loop");
    await expectLinks(await notice("firing", "BehestDoomLoop"), "doom-loop");
    await notice("resolved", "BehestDoomLoop");
    const both = noticesOf("firing", "BehestRunFailed").filter(
      ({ labels }) => labels["error_type"] === "doom_loop",
    );
    expect(both).toEqual([]);
  });

  test("of a compaction circuit, of input that is no event, and of events that a limit drops", async () => {
    await tell("compaction-circuit");
    await bridge.post(["no event"]);
    await bridge.post(tooManyTools());
    await expectLinks(await notice("firing", "BehestCompactionCircuitOpen"), "compaction-circuit");
    const rejected = await notice("firing", "BehestEventsRejected");
    expect(rejected.labels).toMatchObject({ job: JOB, code: "BEHEST_DECODE_JSON", severity: "warning" });
    const lost = await notice("firing", "BehestEventsLost");
    expect(lost.labels).toMatchObject({ job: JOB, reason: "limit", severity: "critical" });
    await Promise.all([rejected, lost].map((one) => expectRunbook(one)));
  });

  test("of spans that a backend refuses", async () => {
    const backend = await refusingBackend();
    const refused = await startBridge({
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${backend.url}/v1/traces`,
      OTEL_SERVICE_NAME: "refused",
    });
    const [run = []] = runsOf("plain-answer");
    await refused.post(retold(run, 1, Date.now() - 1_000).map(({ line }) => line));
    const lost = await notice("firing", "BehestSpansLost");
    expect(lost.labels).toMatchObject({ job: "shop/refused", reason: "refused", severity: "critical" });
    await expectRunbook(lost);
    const { status, report } = await refused.stop();
    expect({ status, spans: report.spans }).toEqual({ status: 1, spans: { exported: 0, failed: 2 } });
    await backend.close();
  });

  test("of events that a stream no longer had when they were to be read", async () => {
    await using broker = await startRedis();
    const reading = await startBridge({ OTEL_SERVICE_NAME: "trimmed" }, "--from", broker.from("behest-otel"));
    await broker.publish(["no event"]);
    await eventually("it is read", async () => (await broker.left("behest-otel")) === 0);
    const { admin } = broker.server;
    const all = admin.multi();
    for (let n = 0; n < 5; n += 1) all.xAdd(STREAM, "*", { event: "no event" });
    // At once, so that nobody reads in between.
    await all.xTrim(STREAM, "MAXLEN", 0).exec();
    const gone = await notice("firing", "BehestSourceLost");
    expect(gone.labels).toMatchObject({ job: "shop/trimmed", severity: "critical" });
    expect(gone.annotations["description"]).toContain("Gone unread in the last five minutes: 5.");
    await expectRunbook(gone);
    await reading.stop();
  });

  test("that most runs of an agent fail", async () => {
    const [run = []] = runsOf("token-budget");
    const runs = Array.from({ length: 12 }, (_, index) => retold(run, 100 + index, Date.now() - 1_000));
    await bridge.post(linesOf(runs.flat()), "planner");
    const most = await notice("firing", "BehestRunFailureRatio");
    expect(most.labels).toEqual({
      alertname: "BehestRunFailureRatio",
      severity: "critical",
      job: JOB,
      gen_ai_agent_name: "planner",
    });
    expect(most.annotations["summary"]).toBe("100% of the runs of agent planner fail");
    const found = await foundTraces(stack.jaegerUrl, searchOf(most));
    expect(found.toSorted()).toEqual(runs.map((lines) => traceIdOf(lines[0]!.line)).toSorted());
    await expectRunbook(most);
  });

  test("of an agent that uses very many tokens", async () => {
    const [run = []] = runsOf("plain-answer");
    const costly = run.map((line) => line.replace(/"input_tokens":\d+/, '"input_tokens":6000000'));
    expect(costly).not.toEqual(run);
    await bridge.post(linesOf(retold(costly, 200, Date.now() - 1_000)), "reader");
    const burn = await notice("firing", "BehestTokenBurn");
    expect(burn.labels).toMatchObject({ job: JOB, gen_ai_agent_name: "reader", severity: "warning" });
    expect(burn.annotations["summary"]).toBe("Agent reader used 6M tokens in an hour");
    await expectRunbook(burn);
  });

  test("of a run that still talks two hours after it began", async () => {
    const run = { run_id: "0f0e0d0c-0b0a-4908-8706-050403020101" };
    const at = (ms: number) => ({ ...run, timestamp: new Date(ms).toISOString() });
    const MODEL = { provider: "openai", model: "gpt-4o" };
    const session_id = "0f0e0d0c-0b0a-4908-8706-0504030201ff";
    const began = { RunStarted: { ...MODEL, session_id, ...at(Date.now() - 2 * 3_600_000) } };
    await bridge.post([JSON.stringify(began)], AGENT);
    const talk = async () => {
      await bridge.post([JSON.stringify({ ContextBuilt: { message_count: 1, ...at(Date.now()) } })], AGENT);
      return noticesOf("firing", "BehestRunTooOld").map(({ annotations }) => annotations["summary"]);
    };
    await expect
      .poll(talk, PATIENCE)
      .toEqual([expect.stringMatching(/^A run has been active for 2h 0m \d+s$/)]);
    await bridge.post([JSON.stringify({ RunCancelled: at(Date.now()) })], AGENT);
    await expectRunbook(await notice("resolved", "BehestRunTooOld"));
  });
});

describe("the rules", () => {
  test("are all evaluated without an error", async () => {
    await expect.poll(() => ruleFaults(stack.prometheusUrl), PATIENCE).toEqual([]);
  });

  test("have data: every one that records does, after all that was told above", async () => {
    const records = rules.flatMap(({ record }) => (record === undefined ? [] : [record]));
    expect(records.length).toBeGreaterThan(20);
    await expect.poll(() => withoutData(records), PATIENCE).toEqual([]);
  });

  test("have data: every alert does, if its comparisons tell and do not leave out", async () => {
    const asked = rules.flatMap(({ alert, expr }) => (alert === undefined ? [] : [telling(expr)]));
    expect(asked.length).toBeGreaterThan(10);
    await expect.poll(() => withoutData(asked), PATIENCE).toEqual([]);
  });
});

describe("at last the webhook is told", () => {
  test("that traces wait in the collector while Jaeger is away", async () => {
    await stack.jaeger.kill("SIGTERM");
    await tell("streamed-answer");
    const delayed = await notice("firing", "BehestTracesDelayed");
    expect(delayed.labels).toMatchObject({ exporter: "otlp_grpc/jaeger", severity: "warning" });
    await expectRunbook(delayed);
    await stack.jaeger.start();
    await notice("resolved", "BehestTracesDelayed");
    const id = traceIdOf(told.get("streamed-answer")!);
    await expect.poll(async () => (await storedIds(stack.jaegerUrl, id)).length, PATIENCE).toBe(2);
  });

  test("that the bridge is gone, and that it is back", async () => {
    // It was gone before it was started the first time, too.
    const before = webhook.notices.length;
    const { status } = await bridge.stop();
    expect(status).toBe(0);
    const gone = await notice("firing", "BehestBridgeGone", before);
    expect(gone.labels).toEqual({ alertname: "BehestBridgeGone", severity: "critical" });
    await expectRunbook(gone);
    bridge = await startBridge();
    await notice("resolved", "BehestBridgeGone", before);
  });
});

function startBridge(
  env: Readonly<Record<string, string>> = {},
  ...args: readonly string[]
): Promise<LiveBridge> {
  return LiveBridge.start({
    otlp: stack.otlpHttp,
    // Longer than the reorder window, which is two seconds for HTTP.
    args: ["--run-idle-timeout", "5s", ...args],
    env: { ...SERVICE, ...env },
  });
}

/** Tells the one run of a recording, as one that has just ended. */
async function tell(scenario: string): Promise<void> {
  const [run = [], ...others] = runsOf(scenario);
  expect(others).toEqual([]);
  const now = Date.now();
  const lengthMs = retold(run, 0, 0).at(-1)!.atMs;
  const lines = linesOf(retold(run, now, now - lengthMs));
  told.set(scenario, lines[0]!);
  await bridge.post(lines, AGENT);
}

const linesOf = (timed: readonly TimedLine[]) => timed.map(({ line }) => line);

function noticesOf(status: Notice["status"], alert: string, from = 0): readonly Notice[] {
  return webhook.notices
    .slice(from)
    .filter((one) => one.status === status && one.labels["alertname"] === alert);
}

/** The newest of them, as soon as there is one after the first `from` notices. */
async function notice(status: Notice["status"], alert: string, from = 0): Promise<Notice> {
  await expect
    .poll(
      () => webhook.notices.slice(from).map((one) => `${one.status} ${one.labels["alertname"]}`),
      PATIENCE,
    )
    .toContain(`${status} ${alert}`);
  return noticesOf(status, alert, from).at(-1)!;
}

/** The names of the alerts on runs that Prometheus says are pending or firing. */
async function active(): Promise<string[]> {
  const found = await samples(stack.prometheusUrl, 'ALERTS{alertname=~"BehestRun.*"}');
  return found.map(({ labels }) => labels["alertname"]!);
}

/** Jaeger's answer to one link has this run, and the page that the other one names is there. */
async function expectLinks(one: Notice, scenario: string): Promise<void> {
  const id = traceIdOf(told.get(scenario)!);
  await expect.poll(() => foundTraces(stack.jaegerUrl, searchOf(one)), PATIENCE).toContain(id);
  await expectRunbook(one);
}

/** What Jaeger's page asks for behind the link. The address is that of docker-compose.yml, and another one here. */
function searchOf({ annotations }: Notice): URLSearchParams {
  const link = new URL(annotations["traces_url"]!);
  expect(link.origin + link.pathname).toBe("http://localhost:16686/search");
  return link.searchParams;
}

async function expectRunbook({ annotations, labels }: Notice): Promise<void> {
  const { pathname } = new URL(annotations["runbook_url"]!);
  const answer = await fetch(new URL(pathname, stack.prometheusUrl));
  expect(await answer.text()).toMatch(new RegExp(`^# ${labels["alertname"]}\n`));
}

/** A run that has one tool more open than it may have. */
function tooManyTools(): string[] {
  const run_id = "0f0e0d0c-0b0a-4908-8706-050403020100";
  const timestamp = new Date().toISOString();
  const tools = Array.from({ length: 1_001 }, (_, index) => ({
    ToolExecutionStarted: { run_id, call_id: `call_${index}`, tool_name: "search", timestamp },
  }));
  return [...tools, { RunCancelled: { run_id, timestamp } }].map((event) => JSON.stringify(event));
}

/** Takes no span, and says that it will never take one. */
function refusingBackend(): Promise<OtlpServer> {
  return startHttpBackend(() => ({ act: "answer", status: 400 }));
}

/** Those of the queries that have no result which is a number. */
async function withoutData(queries: readonly string[]): Promise<string[]> {
  const empty = await Promise.all(
    queries.map(async (query) => {
      const found = await samples(stack.prometheusUrl, query);
      return found.some(({ value }) => Number.isFinite(value)) ? [] : [query];
    }),
  );
  return empty.flat();
}

/**
 * The expression of an alert with comparisons that say 0 or 1, so that there is an answer also when it does not fire.
 * What excludes (`unless`) is left as it is, and `absent` gives way to what is to be there.
 */
function telling(expr: string): string {
  return expr
    .replace(/^absent\((.*)\)$/, "$1")
    .replace(
      /(unless on \([^)]*\) \S+ )?(>=|<=|==|>|<) /g,
      (text, unless: string | undefined, sign: string) => (unless === undefined ? `${sign} bool ` : text),
    );
}
