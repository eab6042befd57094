import { JAEGER } from "./data-sources.ts";
import { link, type Link } from "./link.ts";

/** A link from a series to the traces behind it: a search in Jaeger, by attributes of one span. */
export interface TraceSearch {
  readonly title: string;
  /**
   * Values may hold `field()`. Not `error`: Jaeger's search hands the word `true` on, and its memory store
   * (2.13) takes only a boolean, so that nothing is found.
   */
  readonly tags: Readonly<Record<string, string>>;
}

/** The value of a label of the series that is clicked on. */
export function field(label: string): string {
  return `\${__field.labels.${label}:percentencode}`;
}

/** The second one is for runs without an agent's name, which no search for a name finds. */
export const RUNS_OF_AGENT: readonly TraceSearch[] = [
  {
    title: "Runs of this agent in Jaeger",
    tags: { "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": field("gen_ai_agent_name") },
  },
  { title: "Runs of all agents in Jaeger", tags: { "gen_ai.operation.name": "invoke_agent" } },
];

export const CALLS_OF_MODEL: readonly TraceSearch[] = [
  {
    title: "Calls of this model in Jaeger",
    tags: { "gen_ai.request.model": field("gen_ai_request_model") },
  },
];

/** Grafana's Explore on the Jaeger data source, over the time range of the dashboard. */
export function traceLink({ title, tags }: TraceSearch): Link {
  const search = {
    refId: "A",
    datasource: JAEGER,
    queryType: "search",
    service: "${service:percentencode}",
    tags: Object.entries(tags)
      .map(([key, value]) => `${key}="${value}"`)
      .join(" "),
    limit: 50,
  };
  const pane = {
    datasource: JAEGER.uid,
    queries: [search],
    range: { from: "${__from}", to: "${__to}" },
  };
  const panes = encoded(JSON.stringify({ traces: pane }));
  return link({ title, url: `/explore?schemaVersion=1&panes=${panes}`, targetBlank: true });
}

/** Percent-encoded but for the variables: Grafana looks for those before anybody decodes the address. */
function encoded(text: string): string {
  return text
    .split(/(\$\{[^}]+\})/)
    .map((part, index) => (index % 2 === 1 ? part : encodeURIComponent(part)))
    .join("");
}
