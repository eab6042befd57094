import { describe, expect, test } from "vitest";

import { SEED, seeded } from "../bridge/seeded.ts";
import { Cable, idsOf, inputOf, STREAM, type Life } from "./redis-server.ts";
import { server } from "./one-redis.ts";

const destroyGroup = () => server.ask("XGROUP", "DESTROY", STREAM, "behest-otel");

/** Commits as the bridge does: what is used of all that was taken, up to the newest. */
async function commit({ source, store }: Life, taken: readonly string[], unused: readonly string[]) {
  const position = source.positionOf(taken.at(-1), unused);
  const used = taken.filter((id) => !unused.includes(id));
  await store.commit({ puts: new Map([["position", position]]), removes: [], used });
}

describe("a group that is destroyed while no process lives", () => {
  test("gives again what waited, and nothing that was used behind it", async () => {
    const ids = await server.append(10);
    const [third, sixth] = [ids[3]!, ids[6]!];
    const first = await inputOf(server.port).open();
    await first.take(10);
    await commit(first, ids, [third, sixth]);
    await first[Symbol.asyncDispose]();
    await destroyGroup();
    const more = await server.append(2);
    await using next = await inputOf(server.port).open();
    expect(idsOf(await next.takeAll())).toEqual([third, sixth, ...more]);
    await commit(next, [third, sixth, ...more], []);
    expect(await server.pending()).toBe(0);
  });

  test("after a second life that used only what had waited in the first: nothing comes twice", async () => {
    const ids = await server.append(10);
    const first = await inputOf(server.port).open();
    await first.take(10);
    await commit(first, ids, [ids[3]!]);
    await first[Symbol.asyncDispose]();
    const second = await inputOf(server.port).open();
    expect(idsOf(await second.take(1))).toEqual([ids[3]]);
    await commit(second, [ids[3]!], []);
    await second[Symbol.asyncDispose]();
    await destroyGroup();
    await using third = await inputOf(server.port).open();
    expect(await third.takeAll()).toEqual([]);
  });

  test("after a second life that had not come to all that waited: the rest still comes", async () => {
    const ids = await server.append(1_200);
    const waiting = ids.filter((_, at) => at % 2 === 0);
    const first = await inputOf(server.port).open();
    await first.take(1_200);
    await commit(first, ids, waiting);
    await first[Symbol.asyncDispose]();
    const second = await inputOf(server.port).open();
    const taken = idsOf(await second.take(1));
    expect(taken.length).toBeLessThan(600);
    await commit(second, taken, []);
    await second[Symbol.asyncDispose]();
    await destroyGroup();
    await using third = await inputOf(server.port).open();
    expect(idsOf(await third.takeAll())).toEqual(waiting.slice(taken.length));
  });

  test("while entries wait that were taken over: they come, though newer ones were read before them", async () => {
    const left = await server.append(2);
    await server.ask("XGROUP", "CREATE", STREAM, "behest-otel", "0");
    await server.ask("XREADGROUP", "GROUP", "behest-otel", "older", "STREAMS", STREAM, ">");
    let laterMs = 0;
    const clock = {
      now: () => Date.now() + laterMs,
      after: (ms: number, run: () => void) => {
        const timer = setTimeout(run, ms);
        return () => clearTimeout(timer);
      },
    };
    const first = await inputOf(server.port, "", { clock }).open();
    const ids = await server.append(2);
    const taken = idsOf(await first.take(2));
    await server.ask("XCLAIM", STREAM, "behest-otel", "older", "0", ...left, "IDLE", "120000");
    laterMs = 60_000;
    taken.push(...idsOf(await first.take(2)));
    expect(taken).toEqual([...ids, ...left]);
    await commit(first, taken, [ids[1]!, left[1]!]);
    await first[Symbol.asyncDispose]();
    await destroyGroup();
    await using next = await inputOf(server.port).open();
    expect(idsOf(await next.takeAll())).toEqual([left[1], ids[1]]);
  });
});

describe("a group that is destroyed under a process", () => {
  test("gives it nothing twice, nor to the next one, and leaves nothing pending", async () => {
    const ids = await server.append(10);
    const life = await inputOf(server.port).open();
    await life.take(10);
    const waiting = [ids[3]!, ids[8]!];
    await commit(life, ids, waiting);
    await destroyGroup();
    const more = await server.append(5);
    expect(idsOf(await life.take(5))).toEqual(more);
    await commit(life, [...waiting, ...more], [ids[8]!]);
    expect(await server.pending()).toBe(1);
    await life[Symbol.asyncDispose]();
    await using next = await inputOf(server.port).open();
    expect(idsOf(await next.takeAll())).toEqual([ids[8]]);
  });

  test.each(["XREADGROUP", "XACK"])(
    "gives it nothing twice, also when the answer to %s is lost",
    async (word) => {
      await using cable = await Cable.to(server.port);
      const ids = await server.append(10);
      await using life = await inputOf(cable.port).open();
      await life.take(10);
      await commit(life, ids, [ids[3]!]);
      await destroyGroup();
      let left = 2;
      // The first time it is only found out that the group is gone.
      cable.fate = (sent) =>
        sent.includes(word) && (left -= 1) === (word === "XACK" ? 1 : 0) ? "lose answer" : "pass";
      const [id] = await server.append(1);
      expect(idsOf(await life.take(1))).toEqual([id]);
      expect(left).toBeLessThan(2);
      await commit(life, [ids[3]!, id!], []);
      expect(await server.pending()).toBe(0);
    },
  );

  test("begins at what is committed, also when who owns the state was asked since", async () => {
    const ids = await server.append(6);
    const life = await inputOf(server.port).open();
    await life.take(6);
    await commit(life, ids.slice(0, 2), []);
    // Noted, and not written: the backend does not take the spans of it.
    life.source.positionOf(ids[5], []);
    await life.commit({});
    await destroyGroup();
    await server.append(1);
    await life.take(1);
    await life[Symbol.asyncDispose]();
    await using next = await inputOf(server.port).open();
    expect(idsOf(await next.takeAll()).slice(0, 4)).toEqual(ids.slice(2));
  });
});

test(`whatever is committed, killed and destroyed: every entry is used once (SEED=${SEED})`, async () => {
  const random = seeded(SEED);
  const appended: string[] = [];
  const used: string[] = [];
  const endsAt = performance.now() + 1_000 * Math.min(20, Number(process.env["TRIAL_SECONDS"] ?? 5));
  const append = async () => appended.push(...(await server.append(1 + Math.floor(random() * 40))));
  /** Notes what was taken, and commits all of it but what waits, sometimes in vain. */
  const round = async (life: Life, taken: string[], waiting: Set<string>) => {
    if (random() < 0.7) await append();
    const reading = await life.next();
    if (reading?.kind === "deliveries") {
      for (const id of idsOf(reading.deliveries)) {
        taken.push(id);
        waiting.add(id);
      }
    }
    if (random() < 0.2) await destroyGroup();
    const decided = [...waiting].filter(() => random() < 0.6);
    if (decided.length === 0) return;
    const position = life.source.positionOf(
      taken.at(-1),
      [...waiting].filter((id) => !decided.includes(id)),
    );
    if (random() < 0.2) return life.commit({});
    await life.commit({ position }, decided);
    for (const id of decided) waiting.delete(id);
    used.push(...decided);
  };
  while (performance.now() < endsAt) {
    await using life = await inputOf(server.port).open();
    const taken: string[] = [];
    const waiting = new Set<string>();
    for (let rounds = random() * 12; rounds > 0; rounds -= 1) await round(life, taken, waiting);
  }
  await using last = await inputOf(server.port).open();
  used.push(...idsOf(await last.takeAll()));
  expect(used.toSorted()).toEqual(appended.toSorted());
  expect(appended.length).toBeGreaterThan(100);
});
