import * as bargauge from "@grafana/grafana-foundation-sdk/bargauge";
import {
  BarGaugeDisplayMode,
  BigValueColorMode,
  BigValueGraphMode,
  GraphDrawStyle,
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VizLegendOptionsBuilder,
  VizOrientation,
  VizTooltipOptionsBuilder,
} from "@grafana/grafana-foundation-sdk/common";
import {
  FieldColorBuilder,
  FieldColorModeId,
  ThresholdsConfigBuilder,
  ThresholdsMode,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { DataqueryBuilder, PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";
import * as stat from "@grafana/grafana-foundation-sdk/stat";
import * as table from "@grafana/grafana-foundation-sdk/table";
import * as timeseries from "@grafana/grafana-foundation-sdk/timeseries";

import { PROMETHEUS } from "./data-sources.ts";
import { traceLink, type TraceSearch } from "./traces.ts";

/** What every panel has. `id` is part of links to it, and so never given to another panel. */
export interface PanelSpec {
  readonly id: number;
  readonly title: string;
  readonly description: string;
  readonly unit: "s" | "short" | "percentunit" | "bytes";
  /** Of 24. */
  readonly width: number;
  readonly queries: readonly Query[];
  /** Values from which on the colour is another one; the colour means something then. Default: no value is good or bad. */
  readonly thresholds?: Thresholds;
  readonly links?: readonly TraceSearch[];
  /** What stands there when there is nothing to show, where that is good news. */
  readonly nothing?: string;
}

export interface Query {
  readonly expr: string;
  readonly legend: string;
}

interface Thresholds {
  readonly base: Colour;
  readonly steps: readonly (readonly [from: number, colour: Colour])[];
}

const NEUTRAL: Thresholds = { base: "text", steps: [] };

type Colour = "green" | "orange" | "red" | "blue" | "purple" | "yellow" | "text";

interface Over {
  /** The shortest distance of two points. Rare runs need a long one, or every window is empty. */
  readonly minStep: "1m" | "5m";
  /** Colours of series by their legend, where the name has a meaning. */
  readonly colours?: Readonly<Record<string, Colour>>;
}

/** One number for the whole range, or for now. */
export function figure(spec: PanelSpec): stat.PanelBuilder {
  return dressed(new stat.PanelBuilder(), spec)
    .height(4)
    .targets(spec.queries.map((query, index) => target(query, index).instant()))
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(["lastNotNull"]))
    .colorMode(BigValueColorMode.Value)
    .graphMode(BigValueGraphMode.None)
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds));
}

/** Lines over time. */
export function lines(spec: PanelSpec & Over): timeseries.PanelBuilder {
  const panel = overTime(spec).fillOpacity(8);
  if (spec.thresholds === undefined) return panel;
  return panel.thresholdsStyle(new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed));
}

/** Parts of a whole over time, as bars on top of each other. */
export function parts(spec: PanelSpec & Over): timeseries.PanelBuilder {
  return overTime(spec)
    .drawStyle(GraphDrawStyle.Bars)
    .fillOpacity(70)
    .lineWidth(0)
    .stacking(new StackingConfigBuilder().mode(StackingMode.Normal).group("A"));
}

/** The largest of something in the range, as horizontal bars. */
export function ranking(spec: PanelSpec): bargauge.PanelBuilder {
  const { thresholds = { base: "blue", steps: [] } } = spec;
  return dressed(new bargauge.PanelBuilder(), { ...spec, thresholds })
    .height(8)
    .targets(spec.queries.map((query, index) => target(query, index).instant()))
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(["lastNotNull"]))
    .orientation(VizOrientation.Horizontal)
    .displayMode(BarGaugeDisplayMode.Basic)
    .legend(legend().showLegend(false))
    .min(0)
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds));
}

/** A row for each combination of labels and a column for each query; `columns` names the labels. */
export function matrix(
  spec: PanelSpec & { readonly columns: Readonly<Record<string, string>> },
): table.PanelBuilder {
  const values = spec.queries.map(({ legend: name }, index) => [`Value #${refId(index)}`, name]);
  return dressed(new table.PanelBuilder(), spec)
    .height(8)
    .targets(spec.queries.map((query, index) => target(query, index).instant().format(PromQueryFormat.Table)))
    .withTransformation({ id: "merge", options: {} })
    .withTransformation({
      id: "organize",
      options: {
        excludeByName: { Time: true },
        renameByName: { ...spec.columns, ...Object.fromEntries(values) },
      },
    });
}

function overTime(spec: PanelSpec & Over): timeseries.PanelBuilder {
  const panel = dressed(new timeseries.PanelBuilder(), spec)
    .height(8)
    .interval(spec.minStep)
    .targets(spec.queries.map((query, index) => target(query, index).range()))
    .min(0)
    .legend(legend().calcs(["mean", "max"]))
    .tooltip(
      new VizTooltipOptionsBuilder()
        .mode(TooltipDisplayMode.Multi)
        .sort(SortOrder.Descending)
        .hideZeros(true),
    )
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.PaletteClassicByName));
  for (const [name, colour] of Object.entries(spec.colours ?? {})) {
    panel.overrideByName(name, [{ id: "color", value: { mode: "fixed", fixedColor: colour } }]);
  }
  return panel;
}

function legend(): VizLegendOptionsBuilder {
  return new VizLegendOptionsBuilder()
    .displayMode(LegendDisplayMode.Table)
    .placement(LegendPlacement.Bottom)
    .showLegend(true);
}

type AnyPanel = timeseries.PanelBuilder | stat.PanelBuilder | bargauge.PanelBuilder | table.PanelBuilder;

function dressed<Panel extends AnyPanel>(panel: Panel, spec: PanelSpec): Panel {
  panel.id(spec.id);
  panel.title(spec.title);
  panel.description(spec.description);
  panel.datasource(PROMETHEUS);
  panel.unit(spec.unit);
  panel.span(spec.width);
  if (spec.links !== undefined) panel.dataLinks(spec.links.map(traceLink));
  if (spec.nothing !== undefined) panel.noValue(spec.nothing);
  const { base, steps } = spec.thresholds ?? NEUTRAL;
  const rising = steps.map(([value, color]) => ({ value, color }));
  panel.thresholds(
    new ThresholdsConfigBuilder()
      .mode(ThresholdsMode.Absolute)
      .steps([{ value: null, color: base }, ...rising]),
  );
  return panel;
}

function target({ expr, legend: name }: Query, index: number): DataqueryBuilder {
  return new DataqueryBuilder()
    .refId(refId(index))
    .datasource(PROMETHEUS)
    .expr(expr)
    .legendFormat(name)
    .exemplar(false);
}

/** A, B, C, as Grafana itself names queries. */
function refId(index: number): string {
  return String.fromCharCode(65 + index);
}
