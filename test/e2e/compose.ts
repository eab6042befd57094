import { existsSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";

import { parse } from "yaml";

import { ROOT } from "../cli/program.ts";

/** A service of docker-compose.yml as it runs here, outside a container. */
export interface Service {
  /** Its arguments, with paths of this machine in place of paths in the container. */
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Where a path of the container is here. Throws when docker-compose.yml mounts nothing there. */
  readonly pathOf: (containerPath: string) => string;
}

interface ComposeFile {
  readonly services: Readonly<
    Record<
      string,
      {
        readonly command?: readonly string[];
        readonly environment?: Readonly<Record<string, string | number | boolean>>;
        readonly volumes?: readonly string[];
      }
    >
  >;
}

/**
 * Reads a service of docker-compose.yml, and makes of this directory what its container would see: mounted files of the
 * repository are links to them, named volumes empty directories.
 */
export function composeService(name: string, directory: string): Service {
  const file = parse(readFileSync(join(ROOT, "docker-compose.yml"), "utf8"), { merge: true }) as ComposeFile;
  const service = file.services[name];
  if (service === undefined) throw new Error(`docker-compose.yml has no service ${name}`);
  for (const volume of service.volumes ?? []) {
    const [source = "", target = ""] = volume.split(":");
    const here = join(directory, target);
    mkdirSync(dirname(here), { recursive: true });
    if (source.startsWith("./")) symlinkSync(join(ROOT, source), here);
    else mkdirSync(here);
  }

  const pathOf = (path: string): string => {
    const here = join(directory, path);
    if (existsSync(here)) return here;
    throw new Error(`docker-compose.yml mounts nothing that exists at ${path} of ${name}`);
  };
  const args = (service.command ?? []).map((arg) => arg.replace(/(?<==)\/.*$/, pathOf));
  const environment = Object.entries(service.environment ?? {}).map(([key, value]) => [key, String(value)]);
  return { args, environment: Object.fromEntries(environment) as Record<string, string>, pathOf };
}
