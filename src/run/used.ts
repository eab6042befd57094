import { EVENT_TYPES, type Event } from "../event/event.ts";
import type { Op } from "./op.ts";

type UsedOps = { readonly [T in Event["type"]]: Op };

/** One shared op for each type: most events are deltas, and nothing of them but this is told. */
export const USED = Object.fromEntries(
  EVENT_TYPES.map((type) => [type, Object.freeze({ op: "used", type })]),
) as UsedOps;
