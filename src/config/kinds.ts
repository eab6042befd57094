import { formatDuration, MAX_DURATION_MS, parseDuration } from "../duration.ts";
import { providerOf } from "../run/provider.ts";
import type { Shard } from "../shard.ts";
import { parseSourceSpec, sourceFault, SOURCE_FORMS, type SourceSpec } from "../source/spec.ts";

/** A kind of value: how it is written, what it must be, and how it is read. */
export interface Kind<T> {
  /** What stands for it in `--help`. */
  readonly placeholder: string;
  /** Ends the sentence "expected ...". */
  readonly expected: string;
  /** Undefined when the text is not of this kind. */
  readonly read: (text: string) => T | undefined;
  /** What exactly is wrong with a text, where that can be told; it repeats nothing that could be a secret. */
  readonly fault?: (text: string) => string | undefined;
}

/** A label or name of one to 200 characters, none of them a control character. */
export function name(placeholder: string): Kind<string> {
  return {
    placeholder,
    expected: "1 to 200 characters",
    read: (text) => (/^[^\p{Cc}]{1,200}$/u.test(text) ? text : undefined),
  };
}

/** The path of a file; whether it can be used is found out where it is opened. */
export const path: Kind<string> = {
  placeholder: "FILE",
  expected: "the path of a file",
  read: (text) => (text === "" || text.includes("\0") ? undefined : text),
};

/** The path of a directory, which may not be there yet. */
export const directory: Kind<string> = { ...path, placeholder: "DIR", expected: "the path of a directory" };

/** Where something listens. */
export interface Address {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

/** A host and a port; an IPv6 address stands in brackets. */
export const address: Kind<Address> = {
  placeholder: "HOST:PORT",
  expected: "a host and a port from 0 to 65535, such as 127.0.0.1:8080",
  read(text) {
    const [, bracketed, plain, digits = ""] =
      /^(?:\[([0-9a-fA-F:]+)\]|([^:\s[\]]+)):(\d{1,5})$/.exec(text) ?? [];
    const host = bracketed ?? plain;
    const port = Number(digits);
    return host === undefined || port > 65_535 ? undefined : { host, port };
  },
};

export const source: Kind<SourceSpec> = {
  placeholder: "SOURCE",
  expected: SOURCE_FORMS,
  read: parseSourceSpec,
  fault: sourceFault,
};

/** One of a few words. */
export function choice<const W extends string>(words: readonly W[]): Kind<W> {
  return {
    placeholder: words.join("|"),
    expected: words.length === 2 ? words.join(" or ") : `one of ${words.join(", ")}`,
    read: (text) => words.find((word) => word === text),
  };
}

/** Whole milliseconds from a text such as `10m`. */
export function duration(range: { readonly min: number; readonly max?: number }): Kind<number> {
  const { min, max = MAX_DURATION_MS } = range;
  return {
    placeholder: "DURATION",
    expected: `a duration such as 10m, 2s or 250ms, from ${formatDuration(min)} to ${formatDuration(max)}`,
    read(text) {
      const millis = parseDuration(text);
      return millis !== undefined && millis >= min && millis <= max ? millis : undefined;
    },
  };
}

/** A whole number, written in digits. */
export function count(range: { readonly min: number; readonly max: number }): Kind<number> {
  const { min, max } = range;
  const written = (number: number) => number.toLocaleString("en-US");
  return {
    placeholder: "N",
    expected: `a whole number from ${written(min)} to ${written(max)}`,
    read(text) {
      const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
      return number >= min && number <= max ? number : undefined;
    },
  };
}

const SIZE_UNITS: Readonly<Record<string, number | undefined>> = {
  "": 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
};

/** Whole bytes from a text such as `64MiB`; digits alone are bytes. */
export function size(range: { readonly min: string; readonly max: string }): Kind<number> {
  const [min, max] = [bytesOf(range.min), bytesOf(range.max)];
  return {
    placeholder: "BYTES",
    expected: `a size such as 1GiB, 64MiB or 67108864, from ${range.min} to ${range.max}`,
    read(text) {
      const bytes = bytesOf(text);
      return bytes >= min && bytes <= max ? bytes : undefined;
    },
  };
}

/** Not a number when the text is no size. */
function bytesOf(text: string): number {
  const [, digits = "", unit = ""] = /^(\d{1,15})(KiB|MiB|GiB|TiB)?$/.exec(text) ?? [];
  return digits === "" ? Number.NaN : Number(digits) * (SIZE_UNITS[unit] ?? Number.NaN);
}

/** Which of how many processes this is, counted from 0. */
export const shard: Kind<Shard> = {
  placeholder: "I/N",
  expected: "I/N, from 0/1 to 1023/1024, with I below N",
  read(text) {
    const [, digits = "", all = ""] = /^(\d{1,4})\/(\d{1,4})$/.exec(text) ?? [];
    const read: Shard = { index: Number(digits), count: Number(all) };
    return all !== "" && read.index < read.count && read.count <= 1024 ? read : undefined;
  },
};

/** What a provider id of the application stands for. */
export interface ProviderMapping {
  readonly id: string;
  /** Value of `gen_ai.provider.name`. */
  readonly name: string;
  readonly inputExcludesCache: boolean;
}

/**
 * `ID=WELL_KNOWN`, with `,input-excludes-cache` when the provider's input tokens leave out cached
 * ones. `anthropic` implies it, as it does for the id `anthropic`; `,input-includes-cache` says the
 * opposite, for a gateway that reports in its own way.
 */
export const provider: Kind<ProviderMapping> = {
  placeholder: "ID=NAME",
  expected: "ID=NAME or ID=NAME,input-excludes-cache, with a name such as openai, anthropic or aws.bedrock",
  read(text) {
    const match = /^([^=\p{Cc}]{1,200})=([a-zA-Z0-9._-]{1,100})(?:,input-(excludes|includes)-cache)?$/u.exec(
      text,
    );
    const [, id, wellKnown, cache] = match ?? [];
    if (id === undefined || wellKnown === undefined) return undefined;
    const known = providerOf(wellKnown, "", new Map());
    const inputExcludesCache = cache === undefined ? known.inputExcludesCache : cache === "excludes";
    return { id, name: known.name, inputExcludesCache };
  },
};

/** A regular expression; one that matches the empty text would match everywhere, and is refused. */
export const pattern: Kind<RegExp> = {
  placeholder: "PATTERN",
  expected: "a JavaScript regular expression (flag u) that does not match the empty text",
  read(text) {
    if (text === "") return undefined;
    try {
      return new RegExp(text, "u").test("") ? undefined : new RegExp(text, "gu");
    } catch {
      return undefined;
    }
  },
};
