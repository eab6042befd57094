/** What secrets look like: the names they go by, and the forms they have in text. */

export const REDACTED = "[redacted]";

export interface TextPattern {
  readonly pattern: RegExp;
  readonly replacement: string;
}

/** Letters alone matter, in either case: `OPENAI_API_KEY` and `openaiApiKey2` go by the same name. */
export function isSecretName(name: string): boolean {
  // Keys can be as long as a line; no name of a secret is.
  if (name.length > 256) return false;
  const folded = name.toLowerCase().replaceAll(/[^a-z]/g, "");
  return SECRET_WORDS.has(folded) || SECRET_ENDINGS.some((ending) => folded.endsWith(ending));
}

/** Plurals only where they do not count something: `max_tokens` is no secret. */
const SECRET_ENDINGS = [
  "authorization",
  "password",
  "passwords",
  "passwd",
  "passphrase",
  "secret",
  "secrets",
  "token",
  "apikey",
  "apikeys",
  "accesskey",
  "secretkey",
  "privatekey",
  "signingkey",
  "encryptionkey",
  "credential",
  "credentials",
  "cookie",
  "cookies",
  "connectionstring",
];

/** Too short to be looked for at the end of other names. */
const SECRET_WORDS = new Set(["auth", "bearer", "jwt", "pass", "pwd"]);

/** The names above as they occur in text; what stands before them does not matter. */
const NAME = [
  "authorization",
  "passwords?",
  "passwd",
  "passphrase",
  "secrets?",
  "token",
  "(?:api|access|secret|private|signing|encryption)[ _-]?keys?",
  "credentials?",
  "connection[ _-]?string",
].join("|");

/** A colon, `=`, `:=` or `=>`, and the closing quotes of the name, which may be escaped themselves. */
const SEPARATOR = String.raw`["'\\]{0,4}\s{0,4}[:=]{1,2}>?\s{0,4}`;
const SCHEME = String.raw`(?:(?:bearer|basic|digest|negotiate|token|apikey)\s{1,4})?`;
/** In escaped quotes, in quotes, or bare; the opening quotes are kept. */
const VALUE = String.raw`(?:(\\+["'])[^"'\\]*|(")(?:[^"\\]|\\.)*|(')(?:[^'\\]|\\.)*|[^\s"'\\,;&<>(){}[\]]+)`;

/**
 * Every pattern takes time linear in the text: a repetition either is bounded, or is followed by nothing that
 * could make it start over, and begins only where it cannot have begun one character before.
 */
export const SECRET_PATTERNS: readonly TextPattern[] = [
  {
    pattern: new RegExp(`((?:${NAME})${SEPARATOR})${SCHEME}${VALUE}`, "gis"),
    replacement: `$1$2$3$4${REDACTED}`,
  },
  {
    pattern: /-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|$)/g,
    replacement: REDACTED,
  },
  // user:password@ of a URL.
  { pattern: /(?<=:\/\/)[^\s/?#"'<>\\]{1,1024}@/g, replacement: `${REDACTED}@` },
  {
    pattern: /\b(bearer)\s{1,4}(?!(?:tokens?|auth[a-z]{0,12})\b)[A-Za-z0-9._~+/=-]{6,}/gi,
    replacement: `$1 ${REDACTED}`,
  },
  // "Basic authentication failed" is no secret; base64 of that length has a digit or padding.
  {
    pattern: /\b(basic)\s{1,4}(?=[A-Za-z+/]{0,1024}[0-9=])[A-Za-z0-9+/=]{8,}/gi,
    replacement: `$1 ${REDACTED}`,
  },
  // JSON Web Tokens.
  {
    pattern: /(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*/g,
    replacement: REDACTED,
  },
  // Keys of model providers and payment services.
  { pattern: /(?<![A-Za-z0-9_-])[sr]k[-_][A-Za-z0-9_-]{8,}/g, replacement: REDACTED },
  // Keys of GitHub, GitLab, Slack, Google, npm and Hugging Face.
  {
    pattern:
      /(?<![A-Za-z0-9_-])(?:(?:gh[pousr]|github_pat|npm|hf)_[A-Za-z0-9_]{20,}|(?:glpat|xox[a-z])-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{30,})/g,
    replacement: REDACTED,
  },
  // Access key ids of AWS.
  { pattern: /(?<![A-Za-z0-9])A(?:KIA|SIA|ROA|IDA)[A-Z0-9]{16}(?![A-Za-z0-9])/g, replacement: REDACTED },
  {
    pattern: /(?<![A-Za-z])((?:set-)?cookie["'\\]{0,4}\s{0,4}:)[^\r\n"'\\]+/gi,
    replacement: `$1 ${REDACTED}`,
  },
  { pattern: /(?<![A-Za-z])(pwd\s{0,4}=)[^\s"'\\,;&]+/gi, replacement: `$1${REDACTED}` },
];
