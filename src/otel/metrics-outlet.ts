import type { Time } from "../event/time.ts";
import type { Reading, Snapshot } from "../metric/snapshot.ts";
import type { ExportConfig } from "./environment.ts";
import type { MetricsExport } from "./metrics-export.ts";
import { resourceMetrics } from "./resource-metrics.ts";
import type { createResource } from "./resource.ts";

export interface MetricsOutletOptions {
  readonly config: ExportConfig;
  readonly resource: ReturnType<typeof createResource>;
  readonly scope: { readonly name: string; readonly version: string };
  /** When counting began. */
  readonly start: Time;
  /** The last reading that the backend took from an earlier process. */
  readonly accepted: Reading | undefined;
  readonly out: MetricsExport;
}

/** What became of a reading; `kept` when it went nowhere, because something newer or nothing is to be sent. */
export type ReadingEnd = "taken" | "kept" | "given up";

/** Counters under one `service.instance.id` on their way out. */
export class MetricsOutlet {
  readonly #options: MetricsOutletOptions;
  #accepted: Reading | undefined;

  constructor(options: MetricsOutletOptions) {
    this.#options = options;
    this.#accepted = options.accepted;
  }

  /** What the backend took matters for what is sent next. */
  get isDelta(): boolean {
    return this.#options.config.metricReading.temporality !== "cumulative";
  }

  /**
   * Delivers a snapshot, the newest first of all; with delta temporality what is new since the last
   * one that was taken.
   */
  async put(snapshot: Snapshot, time: Time): Promise<ReadingEnd> {
    const now = { snapshot, time };
    return this.#deliver(
      () => this.#metricsOf(now, this.#accepted),
      () => (this.#accepted = now),
    );
  }

  /** Delivers what can be read off now, and no counter. */
  async putGauges(snapshot: Snapshot, time: Time): Promise<ReadingEnd> {
    const gauges = snapshot.filter(({ kind }) => kind === "gauge");
    return this.#deliver(() => this.#metricsOf({ snapshot: gauges, time }, undefined));
  }

  #metricsOf(now: Reading, accepted: Reading | undefined): ReturnType<typeof resourceMetrics> {
    const { config, resource, scope, start } = this.#options;
    const { temporality } = config.metricReading;
    return resourceMetrics({ resource, scope, temporality, start, now, accepted });
  }

  async #deliver(make: () => ReturnType<typeof resourceMetrics>, onTaken?: () => void): Promise<ReadingEnd> {
    const { config, out } = this.#options;
    if (config.metrics.exporter === "none") return "kept";
    switch ((await out.deliver(make, onTaken)).kind) {
      case "taken":
        return "taken";
      case "discarded":
        return "kept";
      case "failed":
        return "given up";
    }
  }
}
