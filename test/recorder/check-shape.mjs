// Compares a fresh output folder of run.sh with the committed recordings.
//
//   node test/recorder/check-shape.mjs FRESH [COMMITTED]
//
// Ids, times and whatever parallel work may interleave differ from one recording to the next. What
// must not differ: which scenarios and transports there are, the fields of every event and the kinds
// of their values, how many events of each type there are, and in which order a run emits them.

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [fresh, committed = join(dirname(fileURLToPath(import.meta.url)), '../fixtures/recordings')] =
  process.argv.slice(2);
if (!fresh || !existsSync(fresh)) {
  console.error('usage: check-shape.mjs FRESH [COMMITTED]');
  process.exit(2);
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.(\d{3}|\d{6}|\d{9}))?Z$/;
const DELTAS = new Set(['TextDelta', 'ToolCallDelta']);

/** All recordings below a folder: `0.5.9/redis/resume.ndjson` and so on. */
function recordings(folder) {
  const found = [];
  const walk = (below) => {
    for (const entry of readdirSync(join(folder, below), { withFileTypes: true })) {
      const path = below ? `${below}/${entry.name}` : entry.name;
      if (entry.isDirectory()) walk(path);
      else if (path.endsWith('.ndjson') || path.endsWith('/results.json')) found.push(path);
    }
  };
  walk('');
  return found;
}

function kind(value) {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value !== 'string') return typeof value;
  return UUID.test(value) ? 'uuid' : TIME.test(value) ? 'time' : 'string';
}

/** Adds `path: kind` of a value and of everything in it. */
function describe(value, path, into) {
  into.add(`${path}: ${kind(value)}`);
  if (Array.isArray(value)) for (const item of value) describe(item, `${path}[]`, into);
  else if (value !== null && typeof value === 'object')
    for (const [key, item] of Object.entries(value)) describe(item, `${path}.${key}`, into);
}

/** Consecutive equal words as one with a count, so that a difference can be read. */
function squeeze(words) {
  const out = [];
  for (const word of words) {
    if (out.length && out.at(-1)[0] === word) out.at(-1)[1]++;
    else out.push([word, 1]);
  }
  return out.map(([word, n]) => (n > 1 ? `${word} x${n}` : word));
}

function shape(path, text) {
  if (path.endsWith('/results.json')) return results(text);
  const inProcess = path.split('/').length === 2;
  const fields = new Set();
  const types = new Map();
  const runs = new Map();
  const seqs = new Map();
  text
    .trimEnd()
    .split('\n')
    .forEach((line, at) => {
      const parsed = JSON.parse(line);
      const event = parsed.event_id === undefined ? parsed : parsed.event;
      const [type] = Object.keys(event);
      describe(event[type], type, fields);
      if (event !== parsed) {
        const { event: _, ...envelope } = parsed;
        describe(envelope, 'envelope', fields);
        seqs.set(parsed.run_id, [...(seqs.get(parsed.run_id) ?? []), parsed.seq]);
      }
      types.set(type, (types.get(type) ?? 0) + 1);
      const id = event[type].run_id;
      if (!runs.has(id)) runs.set(id, { first: at, last: at, words: [] });
      const run = runs.get(id);
      run.last = at;
      if (!DELTAS.has(type)) run.words.push(type);
    });
  const out = [...fields].sort().map((field) => `field ${field}`);
  for (const [type, n] of [...types].sort()) out.push(`count ${type}: ${n}`);
  if (inProcess) {
    const list = [...runs.values()];
    const lines = list.map((run) => squeeze(run.words).join(' '));
    // Runs side by side may begin in any order, runs one after the other may not.
    if (list.some((run, i) => i > 0 && run.first < list[i - 1].last)) lines.sort();
    lines.forEach((line, i) => out.push(`order of run ${i + 1}: ${line}`));
  } else {
    // The publishers swap neighbours: only what arrived counts, not in which order.
    const perRun = [...runs.values()].map((run) => squeeze(run.words.sort()).join(' ')).sort();
    perRun.forEach((line, i) => out.push(`events of run ${i + 1}: ${line}`));
  }
  for (const list of seqs.values()) {
    const sorted = [...list].sort((a, b) => a - b);
    const missing = sorted.at(-1) - new Set(sorted).size + (sorted[0] === 0 ? 1 : 0);
    out.push(`seq: from ${sorted[0]} to ${sorted.at(-1)}, missing ${missing}, repeated ${list.length - new Set(list).size}`);
  }
  return out;
}

/** What the calls returned, without ids. */
function results(text) {
  const out = [];
  for (const [scenario, calls] of Object.entries(JSON.parse(text))) {
    const lines = calls.map(({ run_id: _, tool_messages = [], ...rest }) => {
      // A streamed answer's tools run in any order.
      const answered = tool_messages.map(([, call]) => call).sort();
      return JSON.stringify({ ...rest, answered }).replace(/[0-9a-f-]{36}/g, 'UUID');
    });
    if (lines.length > 10) lines.sort();
    lines.forEach((line, i) => out.push(`${scenario} ${i + 1}: ${line}`));
  }
  return out;
}

let passed = 0;
let failed = 0;

const here = recordings(committed);
const there = recordings(fresh);
for (const path of [...new Set([...here, ...there])].sort()) {
  const problems = [];
  if (!there.includes(path)) problems.push('not recorded any more');
  else if (!here.includes(path)) problems.push('recorded, but not committed');
  else {
    try {
      const before = shape(path, readFileSync(join(committed, path), 'utf8'));
      const after = shape(path, readFileSync(join(fresh, path), 'utf8'));
      const left = [...after];
      for (const line of before) {
        const at = left.indexOf(line);
        if (at < 0) problems.push(`- ${line}`);
        else left.splice(at, 1);
      }
      for (const line of left) problems.push(`+ ${line}`);
    } catch (error) {
      problems.push(`cannot be read: ${error.message}`);
    }
  }
  if (problems.length === 0) {
    passed++;
    continue;
  }
  failed++;
  console.log(`FAILED ${path}   (- committed, + fresh)`);
  for (const problem of problems.slice(0, 40)) console.log(`  ${problem}`);
  if (problems.length > 40) console.log(`  ... and ${problems.length - 40} more`);
}

console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
