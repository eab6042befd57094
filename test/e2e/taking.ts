import type { Delivery, Reading } from "../../src/source/source.ts";

type Next = () => Promise<Reading | undefined>;

/** Reads until there are so many deliveries, or more if the last reading has more. */
export async function takeFrom(next: Next, count: number): Promise<Delivery[]> {
  const taken: Delivery[] = [];
  while (taken.length < count) {
    const reading = await next();
    if (reading === undefined) throw new Error("the source ended");
    if (reading.kind === "deliveries") taken.push(...reading.deliveries);
  }
  return taken;
}

/** Reads until nothing is left. */
export async function takeAllFrom(next: Next): Promise<Delivery[]> {
  const taken: Delivery[] = [];
  for (;;) {
    const reading = await next();
    if (reading === undefined) throw new Error("the source ended");
    if (reading.kind === "caught_up") return taken;
    if (reading.kind === "deliveries") taken.push(...reading.deliveries);
  }
}
