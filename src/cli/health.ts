import { once } from "node:events";

import type { BridgeStatus } from "../status.ts";
import type { Address } from "../config/kinds.ts";
import { BridgeError, systemReason } from "../errors.ts";

/** What answers to health checks while the bridge runs. */
export interface Health {
  /** Where it really listens: a port of 0 is any free one. */
  readonly address: string;
  readonly close: () => void;
}

/**
 * Answers `GET /healthz` with 200 while the process runs, and `GET /readyz` with 200, or with 503 when a
 * backend refuses the way it is sent to (credentials, endpoint, protocol), a broker is out of reach or refuses to
 * be read, or a state cannot be written; both with the state of each signal and each source as JSON. Rejects with `BEHEST_USAGE` when the address cannot be listened on.
 */
export async function openHealth({ host, port }: Address, read: () => BridgeStatus): Promise<Health> {
  // Not imported above: the module's namespace loads half of an HTTP client that nobody needs here.
  const { createServer } = process.getBuiltinModule("node:http");
  const server = createServer((request, response) => {
    const { status, body } = answer(request.url ?? "", read());
    response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
    response.end(`${JSON.stringify(body)}\n`);
  });
  // Whoever connects and says nothing holds nothing for long.
  server.requestTimeout = 5_000;
  server.headersTimeout = 5_000;
  server.maxConnections = 100;
  try {
    server.listen(port, host);
    await once(server, "listening");
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code === "EADDRINUSE" ? "is in use" : systemReason(error);
    throw new BridgeError("BEHEST_USAGE", `--health: ${host}:${port} ${reason}`, { cause: error });
  }
  // Who asks comes again; without anybody who listens to it, it would end the process.
  server.on("error", () => {});
  server.unref();
  const bound = server.address();
  const boundPort = typeof bound === "object" && bound !== null ? bound.port : port;
  return {
    address: `${host}:${boundPort}`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function answer(url: string, { signals, sources }: BridgeStatus): { status: number; body: object } {
  switch (url) {
    case "/healthz":
      return { status: 200, body: { status: "ok", signals, sources } };
    case "/readyz": {
      const ready =
        Object.values(signals).every(({ phase }) => phase !== "misconfigured") &&
        sources.every((one) => one.reachable && one.refusal === undefined && one.written !== false);
      return { status: ready ? 200 : 503, body: { status: ready ? "ready" : "not ready", signals, sources } };
    }
    default:
      return { status: 404, body: { status: "unknown path: there are /healthz and /readyz" } };
  }
}
