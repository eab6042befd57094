import { createRequire } from "node:module";
import type * as parsing from "@prometheus-io/codemirror-promql/dist/cjs/parser/index.js" with {
  "resolution-mode": "require",
};
import type * as promql from "@prometheus-io/codemirror-promql" with { "resolution-mode": "require" };
import type * as language from "@codemirror/language" with { "resolution-mode": "require" };
import type * as state from "@codemirror/state" with { "resolution-mode": "require" };
import type { SyntaxNode } from "@lezer/common" with { "resolution-mode": "require" };

import { prometheusName } from "../../docs/pages/metrics.ts";
import { METRICS } from "../../src/metric/table.ts";

// The packages exist as two kinds of module, whose classes do not know each other. Required, all are of one.
const require = createRequire(import.meta.url);
const { EditorState } = require("@codemirror/state") as typeof state;
const { ensureSyntaxTree } = require("@codemirror/language") as typeof language;
const { promQLLanguage, LanguageType } = require("@prometheus-io/codemirror-promql") as typeof promql;
const { Parser } = require("@prometheus-io/codemirror-promql/dist/cjs/parser/index.js") as typeof parsing;

const LANGUAGE = promQLLanguage(LanguageType.PromQL);

/** What is wrong with an expression, its types included; nothing when it is fine. */
export function faults(expr: string): readonly string[] {
  const parser = new Parser(parsed(expr));
  parser.analyze();
  const found = parser.getDiagnostics().map(({ message, from, to }) => `${message}: ${expr.slice(from, to)}`);
  // The parser forgives an error at the very end, because somebody may still be typing there.
  if (found.length === 0 && hasError(LANGUAGE.parser.parse(expr).topNode)) found.push(`unfinished: ${expr}`);
  return found;
}

/** An editor's state that holds the whole tree: it parses for 20 ms only, before it is asked for more. */
function parsed(expr: string): state.EditorState {
  const begun = EditorState.create({ doc: expr, extensions: LANGUAGE });
  if (ensureSyntaxTree(begun, expr.length, 10_000) === null) throw new Error(`cannot be parsed: ${expr}`);
  return begun.update({}).state;
}

function hasError(node: SyntaxNode): boolean {
  return node.type.isError || children(node).some(hasError);
}

/** A metric that an expression reads, with the labels that it uses of it: in matchers and in what groups it. */
export interface Use {
  readonly metric: string;
  readonly labels: readonly string[];
}

/** Every metric that an expression reads, once for each place. */
export function usesOf(expr: string): readonly Use[] {
  const text = ({ from, to }: SyntaxNode) => expr.slice(from, to);
  const uses: Use[] = [];
  const visit = (node: SyntaxNode, grouping: readonly string[]): void => {
    switch (node.name) {
      case "VectorSelector": {
        const name = find(node, "Identifier");
        const metric = name === undefined ? "" : text(name);
        uses.push({ metric, labels: [...grouping, ...all(node, "LabelName").map(text)] });
        return;
      }
      case "AggregateExpr": {
        const labels = find(node, "GroupingLabels");
        const within = labels === undefined ? [] : all(labels, "LabelName").map(text);
        children(node).forEach((child) => visit(child, within));
        return;
      }
      default:
        children(node).forEach((child) => visit(child, grouping));
    }
  };
  visit(LANGUAGE.parser.parse(expr).topNode, []);
  return uses;
}

/** The labels that a series of an expression can have: those of its outer aggregations. */
export function resultLabels(expr: string): ReadonlySet<string> {
  const labels = new Set<string>();
  const visit = (node: SyntaxNode): void => {
    if (node.name !== "AggregateExpr" || find(node, "GroupingLabels") === undefined) {
      children(node).forEach(visit);
      return;
    }
    const grouping = find(node, "GroupingLabels") as SyntaxNode;
    for (const { from, to } of all(grouping, "LabelName")) labels.add(expr.slice(from, to));
  };
  visit(LANGUAGE.parser.parse(expr).topNode);
  labels.delete("le");
  return labels;
}

/** Labels that every series has after a scrape of the collector. */
const TARGET_LABELS = ["job", "instance"];

/** Every series that the collector serves of the bridge's metrics, with the labels it can have. */
export const SERIES: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  METRICS.flatMap((metric) => {
    const name = prometheusName(metric);
    const labels = [...TARGET_LABELS, ...metric.attributes.map(([key]) => key.replaceAll(".", "_"))];
    if (metric.kind !== "histogram") return [[name, new Set(labels)] as const];
    const base = name.replace(/_bucket$/, "");
    return [
      [name, new Set([...labels, "le"])] as const,
      [`${base}_sum`, new Set(labels)] as const,
      [`${base}_count`, new Set(labels)] as const,
    ];
  }),
);

function children(node: SyntaxNode): readonly SyntaxNode[] {
  const found: SyntaxNode[] = [];
  for (let child = node.firstChild; child !== null; child = child.nextSibling) found.push(child);
  return found;
}

/** The first node of this name below `node`, not looking into further aggregations and selectors. */
function find(node: SyntaxNode, name: string): SyntaxNode | undefined {
  return all(node, name)[0];
}

function all(node: SyntaxNode, name: string): readonly SyntaxNode[] {
  return children(node).flatMap((child) => {
    if (child.name === name) return [child];
    return child.name === "AggregateExpr" || child.name === "VectorSelector" ? [] : all(child, name);
  });
}
