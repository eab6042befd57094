import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { addSnapshots, difference } from "../../src/metric/combine.ts";
import { Ledger } from "../../src/metric/ledger.ts";
import type { Snapshot } from "../../src/metric/snapshot.ts";
import { happenings, SEED, TIGHT, type Happening } from "./random.ts";

const options = { seed: SEED, numRuns: 30 * Number(process.env["TRIAL_SECONDS"] ?? 5) };

function ledgerOf(happened: readonly Happening[], ledger = new Ledger(TIGHT)): Ledger {
  for (const happen of happened) happen(ledger);
  return ledger;
}

function total(snapshot: Snapshot, metric: string): number {
  return snapshot
    .filter((point) => point.metric === metric)
    .reduce((sum, { value }) => sum + (typeof value === "number" ? value : value.count), 0);
}

describe("whatever happens", () => {
  test("received = used + dropped + rejected, after every step", () => {
    fc.assert(
      fc.property(happenings, (happened) => {
        const ledger = new Ledger(TIGHT);
        for (const happen of happened) {
          happen(ledger);
          const snapshot = ledger.snapshot("released");
          const fates = ["used", "dropped", "rejected"].map((fate) =>
            total(snapshot, `behest.bridge.events.${fate}`),
          );
          expect(total(snapshot, "behest.bridge.events.received")).toBe(
            fates.reduce((sum, fate) => sum + fate, 0),
          );
        }
      }),
      options,
    );
  });

  test("a restart anywhere changes nothing that is counted, and nothing that is counted after", () => {
    fc.assert(
      fc.property(happenings, happenings, (before, after) => {
        const ledger = ledgerOf(before);
        const saved = JSON.parse(JSON.stringify(ledger.save())) as ReturnType<Ledger["save"]>;
        const restored = Ledger.restore(saved, TIGHT);
        expect(counted(restored.snapshot("dup"))).toEqual(counted(ledger.snapshot("dup")));
        expect(restored.save()).toEqual(ledger.save());
        ledgerOf(after, ledger);
        ledgerOf(after, restored);
        expect(counted(restored.snapshot("dup"))).toEqual(counted(ledger.snapshot("dup")));
      }),
      options,
    );
  });

  test("with room for all series a restart does not even change the zeros", () => {
    fc.assert(
      fc.property(happenings, (happened) => {
        const roomy = { ...TIGHT, maxSeries: 10_000 };
        const ledger = ledgerOf(happened, new Ledger(roomy));
        expect(Ledger.restore(ledger.save(), roomy).snapshot("dup")).toEqual(ledger.snapshot("dup"));
      }),
      options,
    );
  });

  test("the same counts give the same saved text, in whatever order they came", () => {
    fc.assert(
      fc.property(happenings, (happened) => {
        const roomy = { source: "redis" };
        const forth = ledgerOf(happened, new Ledger(roomy)).save();
        const back = ledgerOf(happened.toReversed(), new Ledger(roomy)).save();
        // How many runs are active depends on the order: none can end before it began.
        expect(JSON.stringify({ ...back, tallies: { ...back.tallies, runsActive: [] } })).toBe(
          JSON.stringify({ ...forth, tallies: { ...forth.tallies, runsActive: [] } }),
        );
      }),
      options,
    );
  });

  test("no counter and no bucket ever falls", () => {
    fc.assert(
      fc.property(happenings, happenings, (before, after) => {
        const ledger = ledgerOf(before);
        const earlier = ledger.snapshot("dup").filter(({ kind }) => kind !== "gauge");
        const later = new Map(
          ledgerOf(after, ledger)
            .snapshot("dup")
            .map((point) => [keyOf(point), point]),
        );
        expect(earlier.filter((point) => hasFallen(point, later.get(keyOf(point))))).toEqual([]);
      }),
      options,
    );
  });

  test("differences from one accepted snapshot to the next add up to the last one", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(happenings, fc.boolean()), { maxLength: 5 }), (intervals) => {
        const ledger = new Ledger(TIGHT);
        const sent: Snapshot[] = [];
        let accepted: Snapshot = [];
        for (const [happened, isAccepted] of [...intervals, [[], true] as const]) {
          const now = ledgerOf(happened, ledger).snapshot("released");
          if (!isAccepted) continue;
          sent.push(difference(now, accepted));
          accepted = now;
        }
        expect(additive(addSnapshots(sent))).toEqual(additive(accepted));
      }),
      options,
    );
  });

  test("two sources add up to what one would have counted of both", () => {
    fc.assert(
      fc.property(happenings, happenings, (first, second) => {
        const roomy = { source: "redis" };
        const sum = addSnapshots([
          ledgerOf(first, new Ledger(roomy)).snapshot("dup"),
          ledgerOf(second, new Ledger(roomy)).snapshot("dup"),
        ]);
        const one = ledgerOf([...first, ...second], new Ledger(roomy)).snapshot("dup");
        expect(byKey(withoutActive(sum))).toEqual(byKey(withoutActive(one)));
      }),
      options,
    );
  });

  test("the histograms of tokens add up to the counters", () => {
    fc.assert(
      fc.property(happenings, (happened) => {
        const snapshot = ledgerOf(happened).snapshot("released");
        for (const type of ["input", "output"]) {
          const [counters, histograms] = ["behest.token.usage", "gen_ai.client.token.usage"].map((metric) =>
            snapshot
              .filter((point) => point.metric === metric && point.attributes["gen_ai.token.type"] === type)
              .reduce((sum, { value }) => sum + (typeof value === "number" ? value : value.sum), 0),
          );
          expect(histograms).toBe(counters);
        }
      }),
      options,
    );
  });
});

function keyOf({ metric, attributes }: Snapshot[number]): string {
  return `${metric} ${JSON.stringify(attributes)}`;
}

/** Also when the series is gone. */
function hasFallen(earlier: Snapshot[number], later: Snapshot[number] | undefined): boolean {
  const [before, after] = [numbersOf(earlier), later === undefined ? [] : numbersOf(later)];
  return before.some((number, at) => !((after[at] ?? -1) >= number));
}

function numbersOf({ value }: Snapshot[number]): readonly number[] {
  return typeof value === "number" ? [value] : [value.count, value.sum, ...value.buckets];
}

function byKey(snapshot: Snapshot): Readonly<Record<string, unknown>> {
  return Object.fromEntries(snapshot.map((point) => [keyOf(point), point.value]));
}

/** Where the series limit is met, which zeros exist depends on what came first. */
function counted(snapshot: Snapshot): Snapshot {
  return snapshot.filter(({ kind, value }) => kind !== "counter" || value !== 0);
}

function withoutActive(snapshot: Snapshot): Snapshot {
  return snapshot.filter(({ metric }) => metric !== "behest.run.active");
}

/** What a sum of differences can know: no gauges, no least and greatest values. */
function additive(snapshot: Snapshot): Readonly<Record<string, unknown>> {
  const points = snapshot.filter(({ kind }) => kind !== "gauge");
  return Object.fromEntries(
    points.map((point) => [
      keyOf(point),
      point.kind === "histogram" ? { ...point.value, min: undefined, max: undefined } : point.value,
    ]),
  );
}
