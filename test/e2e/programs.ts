import { accessSync, constants } from "node:fs";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";

import listed from "./programs.json" with { type: "json" };

/** A name of a binary in programs.json. Those of Debian that are built here as well are called debian-... */
export type ProgramName =
  | "otelcol"
  | "jaeger"
  | "prometheus"
  | "promtool"
  | "alertmanager"
  | "amtool"
  | "debian-prometheus"
  | "debian-promtool"
  | "debian-alertmanager"
  | "debian-amtool"
  | "redis-server"
  | "nats-server"
  | "chromium";

/** The absolute path of an installed program. Throws one line that says what is missing and how to get it. */
export function program(name: ProgramName): string {
  for (const [group, { version, binaries }] of Object.entries(listed.built)) {
    if (!binaries.includes(name)) continue;
    const path = join(toolsDirectory(), `${group}-${version}`, name);
    if (isExecutable(path)) return path;
    throw missing(`${name} ${version} is missing: no ${path}`, group);
  }
  for (const [group, { package: debian, binaries }] of Object.entries(listed.debian)) {
    const command = new Map(Object.entries(binaries)).get(name);
    if (command === undefined) continue;
    // Debian has servers in sbin, and not everybody has it on the path.
    const directories = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/bin", "/usr/sbin"];
    const path = directories
      .filter(isAbsolute)
      .map((directory) => join(directory, command))
      .find(isExecutable);
    if (path !== undefined) return path;
    throw missing(`${command} of Debian's package ${debian} is missing`, group);
  }
  throw new Error(`programs.json has no binary called ${name}`);
}

function toolsDirectory(): string {
  const { E2E_TOOLS, XDG_CACHE_HOME } = process.env;
  return E2E_TOOLS || join(XDG_CACHE_HOME || join(homedir(), ".cache"), "behest-otel");
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function missing(what: string, group: string): Error {
  return new Error(`${what}. Get it with: bash test/e2e/install.sh ${group}`);
}
