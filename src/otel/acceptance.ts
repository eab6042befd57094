import type { Signal } from "./endpoint.ts";

/** Which signals have been accepted at least once: known to all couriers of a process. */
export interface Acceptance {
  readonly accept: (signal: Signal) => void;
  /** Whether any signal but this one was accepted. */
  readonly byOther: (signal: Signal) => boolean;
  /** Calls back when a signal is accepted for the first time. */
  readonly listen: (heard: () => void) => void;
}

export function createAcceptance(): Acceptance {
  const accepted = new Set<Signal>();
  const listeners: (() => void)[] = [];
  return {
    accept: (signal) => {
      if (accepted.has(signal)) return;
      accepted.add(signal);
      for (const heard of listeners) heard();
    },
    byOther: (signal) => [...accepted].some((one) => one !== signal),
    listen: (heard) => {
      listeners.push(heard);
    },
  };
}
