import { describe, expect } from "vitest";
import { idsOf, refusalOf, shown, textsOf, type LogBegun, type Make, type Stage } from "./contract-life.ts";
import { BESIDE, describeSource, factsOf, LINES, type Fact, type Traits } from "./contract.ts";
import { event } from "./http/served.ts";

export interface LogTraits extends Traits {
  /** Says how much is left; where it cannot, it says nothing rather than something wrong. */
  readonly saysLag: boolean;
}

/** What every source has to do that keeps what was read until it is committed, and what all sources have to. */
export function describeLogSource(name: string, traits: LogTraits, make: Make<LogBegun>): void {
  describeSource(name, traits, make);
  describe(`${name}, as every log,`, () => {
    const fact = factsOf(make);
    lives(fact);
    positions(fact, traits);
    newer(fact, traits);
    lag(fact, traits);
  });
}

const FIVE = [1, 2, 3, 4, 5].map(event);

function lives(fact: Fact<LogBegun>): void {
  fact("hands out what was not committed again: the same, in the same order", async ({ begin, place }) => {
    const first = await begin().open();
    await place.append(LINES, BESIDE);
    await place.append(FIVE);
    const read = [...(await first.takeAll(LINES.length + 5))];
    await first.end();
    const second = await begin().open();
    expect(shown(await second.takeAll())).toEqual(shown(read));
    await second.end();
    const third = await begin().open();
    expect(shown(await third.takeAll())).toEqual(shown(read));
  });

  fact("hands out nothing again that was committed, and goes on behind it", async ({ begin, place }) => {
    const first = await begin().open();
    await place.append(FIVE);
    await first.use(await first.takeAll(5));
    await first.end();
    const second = await begin().open();
    expect(await second.takeAll()).toEqual([]);
    await second.end();
    const third = await begin().open();
    await place.append(LINES);
    expect(textsOf(await third.takeAll(LINES.length))).toEqual(LINES);
    expect(idsOf(third.taken).filter((id) => idsOf(first.taken).includes(id))).toEqual([]);
  });

  fact("goes on in a life that does nothing where it was before", async ({ begin, place }) => {
    const first = await begin().open();
    await place.append(FIVE);
    const read = [...(await first.takeAll(5))];
    await first.use(read, [read[1]!, read[3]!]);
    await first.end();
    await (await begin().open()).end();
    const third = await begin().open();
    expect(shown(await third.takeAll())).toEqual(shown([read[1]!, read[3]!]));
  });
}

function positions(fact: Fact<LogBegun>, { whenRead }: LogTraits): void {
  fact("goes on with exactly what was unused and what is behind the position", async ({ begin, place }) => {
    const first = await begin().open();
    await place.append(FIVE);
    const read = [...(await first.takeAll(5))];
    await place.append([event(6), event(7)]);
    if (whenRead !== "ends") await first.takeUntil(7);
    await first.use(read, [read[0]!, read[3]!]);
    await first.end();
    const second = await begin().open();
    const again = await second.takeAll();
    const [, , ...later] = again;
    expect(shown(again.slice(0, 2))).toEqual(shown([read[0]!, read[3]!]));
    expect(textsOf(later)).toEqual([event(6), event(7)]);
    if (whenRead !== "ends") expect(shown(later)).toEqual(shown(first.taken.slice(5)));
  });

  fact("has a position within a reading as well", async ({ begin, place }) => {
    const first = await begin().open();
    await place.append(FIVE);
    const read = [...(await first.takeAll(5))];
    await first.use(read.slice(0, 3), [read[1]!]);
    await first.end();
    const second = await begin().open();
    expect(shown(await second.takeAll())).toEqual(shown([read[1]!, read[3]!, read[4]!]));
  });

  fact("has positions of several lives together", async ({ begin, place }) => {
    const first = await begin().open();
    await place.append(FIVE);
    const read = [...(await first.takeAll(5))];
    await first.use(read, [read[1]!, read[2]!, read[3]!]);
    await first.end();
    const second = await begin().open();
    const again = [...(await second.takeAll())];
    expect(shown(again)).toEqual(shown(read.slice(1, 4)));
    await second.use(again, [again[1]!]);
    await second.end();
    const third = await begin().open();
    await place.append([event(6)]);
    expect(textsOf(await third.takeAll(2))).toEqual([event(3), event(6)]);
    expect(shown(third.taken.slice(0, 1))).toEqual(shown([read[2]!]));
    await third.use(third.taken);
    await third.end();
    expect(await (await begin().open()).takeAll()).toEqual([]);
  });

  fact("refuses a position that is none of its, by its name", async ({ begin }) => {
    for (const position of ["", "x", "{}"]) {
      const { source, store } = begin();
      await source.prepare?.();
      await store.open();
      const error = await refusalOf(source.open(position));
      await source.close();
      await store.close();
      expect(error, position).toMatchObject({ code: "BEHEST_SOURCE_OPEN" });
      expect(error.message).toContain(source.name);
    }
  });

  fact("keeps what was unused and did not come again before the next end", async ({ begin, place }) => {
    const first = await begin().open();
    await place.append(FIVE);
    const read = [...(await first.takeAll(5))];
    await first.use(read, read.slice(0, 4));
    await first.end();
    const second = await begin().open();
    const some = [...(await second.takeUntil(1))];
    await second.use(some);
    await second.end();
    const third = await begin().open();
    expect(shown([...some, ...(await third.takeAll())])).toEqual(shown(read.slice(0, 4)));
  });
}

/** A life that read five and used one of them. */
async function usedOne({ begin, place }: Stage<LogBegun>) {
  const older = await begin().open();
  await place.append(FIVE);
  const read = [...(await older.takeAll(5))];
  await older.use(
    read,
    read.filter((_, at) => at !== 1),
  );
  return { older, read };
}

function newer(fact: Fact<LogBegun>, { whenRead }: LogTraits): void {
  fact("lets no process commit that was replaced, and acknowledges nothing for it", async (stage) => {
    const { begin } = stage;
    const { older, read } = await usedOne(stage);
    const newest = await begin().open();
    const position = older.log.positionOf(read.at(-1)!.id, []);
    for (let round = 0; round < 2; round += 1) {
      await expect(older.commit(position, idsOf(read))).rejects.toMatchObject({
        code: "BEHEST_STATE_REPLACED",
      });
    }
    await older.end();
    const rest = await newest.takeAll();
    expect(shown(rest)).toEqual(shown(read.filter((_, at) => at !== 1)));
    await newest.use(rest);
    await newest.end();
    expect(await (await begin().open()).takeAll()).toEqual([]);
  });

  fact("takes nothing over before its state is opened", async (stage) => {
    const { begin, place } = stage;
    const { older, read } = await usedOne(stage);
    const next = begin();
    await next.prepare();
    expect(await next.store.peek("position")).toBeDefined();
    await (older.append ?? place.append)([event(6)]);
    const all = whenRead === "ends" ? read : await older.takeUntil(6);
    await older.use(all.filter(({ id }) => id !== read[1]!.id));
    await older.end();
    await next.open();
    expect(textsOf(await next.takeAll())).toEqual(whenRead === "ends" ? [event(6)] : []);
  });
}

function lag(fact: Fact<LogBegun>, { saysLag }: LogTraits): void {
  if (!saysLag) {
    fact("says nothing of what is left", async ({ begin, place }) => {
      const life = await begin().open();
      await place.append(FIVE);
      expect(await life.log.lag()).toBeUndefined();
      await life.takeAll(5);
      expect(await life.log.lag()).toBeUndefined();
    });
    return;
  }
  fact("says how much is left, never too little, and nothing when all is read", async ({ begin, place }) => {
    const first = await begin().open();
    await place.append(FIVE);
    await expect.poll(() => first.log.lag()).toBe(5);
    const read = await first.takeAll(5);
    await expect.poll(() => first.log.lag()).toBe(0);
    await first.use(read, [read[0]!, read[4]!]);
    await first.end();
    const second = await begin().open();
    // What is used between them may count until it is passed over.
    await expect.poll(() => second.log.lag()).toBeGreaterThanOrEqual(2);
    expect(await second.log.lag()).toBeLessThanOrEqual(5);
    await second.takeAll();
    await expect.poll(() => second.log.lag()).toBe(0);
  });
}
