import type { ServedSpan } from "../otel/otlp-server.ts";

/**
 * Spans as a backend received them, as text: one span a line, traces by their start, children under
 * their parent by their start. Nothing is left out but ids (tested by themselves) and what is the
 * same on every span (resource and scope), so a change of anything shows.
 *
 * ```
 * 2e48bf6d-c3d6-4f19-aa3a-d39e77d39d78 2026-11-22T16:11:41.349548932Z session=01a20407-...
 *   invoke_agent INTERNAL [0 +322.146407] Unset b:run.outcome=completed ...
 *     chat gpt-4o CLIENT [0.164466 +321.90086] Unset g:usage.input_tokens=21 ...
 * ```
 *
 * In brackets start after the trace's and length, in milliseconds, exact to the nanosecond.
 * `g:` stands for `gen_ai.`, `b:` for `behest.`.
 */
export function treeOf(spans: readonly ServedSpan[]): string {
  const traces = [...Map.groupBy(spans, ({ traceId }) => traceId).values()];
  const texts = traces.map((trace) => ({ start: startOf(trace), text: traceText(trace) }));
  texts.sort((a, b) => Number(a.start - b.start) || (a.text < b.text ? -1 : 1));
  return texts.map(({ text }) => text).join("\n");
}

/** Said once per trace, and the same on every span of it. */
const SHARED = ["behest.run.id", "gen_ai.conversation.id", "gen_ai.agent.name"] as const;

function traceText(spans: readonly ServedSpan[]): string {
  const origin = startOf(spans);
  const shared = SHARED.map((key) => {
    const values = new Set(
      spans.map(({ attributes }) => attributes.find(([name]) => name === key)?.[1] as string | undefined),
    );
    if (values.size !== 1) throw new Error(`${key} differs within a trace: ${[...values].join(", ")}`);
    return [...values][0];
  });
  const [runId, session, agent] = shared.map((value) => value ?? "-");
  const lines = [`${runId} ${instant(origin)} session=${session} agent=${agent}`];
  const byParent = Map.groupBy(spans, ({ parentSpanId }) => parentSpanId);
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const add = (span: ServedSpan, depth: number) => {
    lines.push(`${"  ".repeat(depth)}${spanText(span, origin)}`);
    for (const event of span.events) lines.push(`${"  ".repeat(depth + 1)}! ${eventText(event, origin)}`);
    for (const link of span.links) lines.push(`${"  ".repeat(depth + 1)}-> ${linkText(link, spans)}`);
    for (const child of inOrder(byParent.get(span.spanId) ?? [])) add(child, depth + 1);
  };
  for (const [parent, children] of byParent) {
    if (ids.has(parent)) continue;
    if (parent !== "") lines.push(`  under ${parent}`);
    for (const child of inOrder(children)) add(child, 1);
  }
  return `${lines.join("\n")}\n`;
}

const KINDS = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
const CODES = ["Unset", "Ok", "ERROR"];

function spanText(span: ServedSpan, origin: bigint): string {
  const { name, kind, start, end, status, attributes, dropped, traceState } = span;
  const time = `[${millis(BigInt(start) - origin)} +${millis(BigInt(end) - BigInt(start))}]`;
  const said = status.message === "" ? "" : ` ${JSON.stringify(status.message)}`;
  const own = attributes.filter(([key]) => !(SHARED as readonly string[]).includes(key));
  return [
    `${name} ${KINDS[kind]} ${time} ${CODES[status.code]}${said}`,
    ...own.map(attributeText),
    ...(dropped.some((count) => count > 0) ? [`dropped=${dropped.join("/")}`] : []),
    ...(traceState === "" ? [] : [`tracestate=${traceState}`]),
  ].join(" ");
}

function attributeText([key, value]: readonly [string, unknown]): string {
  const short = key.replace(/^gen_ai\./, "g:").replace(/^behest\./, "b:");
  const plain = typeof value === "string" && /^[\w.:/@+-]+$/.test(value);
  return `${short}=${plain ? value : JSON.stringify(value)}`;
}

function eventText(event: unknown, origin: bigint): string {
  const { name, time, attributes } = event as { name: string; time: string; attributes: [string, unknown][] };
  return [name, `[${millis(BigInt(time) - origin)}]`, ...attributes.map(attributeText)].join(" ");
}

function linkText(link: unknown, spans: readonly ServedSpan[]): string {
  const { spanId } = link as { spanId: string };
  const at = inOrder(spans.filter(({ parentSpanId }) => parentSpanId === "")).findIndex(
    (span) => span.spanId === spanId,
  );
  return at < 0 ? `span ${spanId}` : `segment ${at}`;
}

function inOrder(spans: readonly ServedSpan[]): ServedSpan[] {
  return spans.toSorted(
    (a, b) => Number(BigInt(a.start) - BigInt(b.start)) || (a.spanId < b.spanId ? -1 : 1),
  );
}

function startOf(spans: readonly ServedSpan[]): bigint {
  return spans.map(({ start }) => BigInt(start)).reduce((a, b) => (b < a ? b : a));
}

function instant(nanos: bigint): string {
  const whole = new Date(Number(nanos / 1_000_000_000n) * 1_000).toISOString().slice(0, 19);
  return `${whole}.${String(nanos % 1_000_000_000n).padStart(9, "0")}Z`;
}

/** Nanoseconds as milliseconds, exact. */
function millis(nanos: bigint): string {
  const text = String(nanos).padStart(7, "0");
  return `${text.slice(0, -6)}.${text.slice(-6)}`.replace(/\.?0+$/, "");
}
