import { TOKEN_VARIABLE, urlText, type HttpSpec } from "./url.ts";

/** What protects a place that is listened on. */
export interface Protection {
  /** The token of the environment. */
  readonly token: string | undefined;
  /** Somebody said that no token is needed. */
  readonly insecureListen: boolean;
}

/** Printable ASCII without spaces: what a header can carry as it is. */
export function isToken(text: string): boolean {
  return /^[\x21-\x7e]{1,4096}$/.test(text);
}

/**
 * What is wrong with listening at a place: without a token only this machine may reach it. `host` is the name or
 * address that is looked at, by default the one of the URL.
 */
export function exposureFault(
  spec: HttpSpec,
  { token, insecureListen }: Protection,
  host = spec.host,
): string | undefined {
  const hasToken = token !== undefined || spec.tokenFile !== undefined;
  if (hasToken || insecureListen || isLoopback(host)) return undefined;
  return (
    `${urlText(spec, spec.port)} can be reached from other machines and has no token; expected ` +
    `token-file=FILE in its URL, ${TOKEN_VARIABLE}, or --insecure-listen`
  );
}

/** Whether only this machine reaches a host. `localhost` is one by its name, and looked at again by its address. */
export function isLoopback(host: string): boolean {
  if (host === "localhost" || host === "::1") return true;
  return /^(?:::ffff:)?127(?:\.\d{1,3}){3}$/.test(host);
}
