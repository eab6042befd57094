/** Lets only so many do something at once; the others wait for their turn, in order. */
export class Turns {
  readonly #max: number;
  readonly #waiting: (() => void)[] = [];
  #under = 0;

  constructor(max: number) {
    this.#max = max;
  }

  async take<T>(act: () => Promise<T>): Promise<T> {
    if (this.#under < this.#max) this.#under += 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await act();
    } finally {
      // Whoever is next has the turn of the one before.
      const next = this.#waiting.shift();
      if (next === undefined) this.#under -= 1;
      else next();
    }
  }
}
