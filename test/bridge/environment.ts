import { afterEach } from "vitest";

const before = new Map<string, string | undefined>();

/** Sets variables of this process until the test is over. */
export function setEnvironment(variables: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(variables)) {
    if (!before.has(name)) before.set(name, process.env[name]);
    process.env[name] = value;
  }
}

/** To be called at the top of a file that sets variables. */
export function restoreEnvironmentAfterEach(): void {
  afterEach(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    before.clear();
  });
}
