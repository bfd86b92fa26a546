import { type Document, isMap, isNode, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { VolbakError } from './errors.ts';
import { nearest } from './nearest.ts';

export type YamlPath = readonly PropertyKey[];

/** What is wrong at a place of the file; with `key` it is the key there that is meant, not its value. */
export interface YamlProblem {
  path: YamlPath;
  message: string;
  key?: boolean;
}

/** How a kind of YAML file is read. */
export interface YamlRules<T> {
  schema: z.ZodType<T>;
  /** The same as JSON schema, which tells the keys that may stand at a place. */
  jsonSchema(): object;
  /** What to do about problems. */
  hint: string;
  /** Changes the document before it is checked, and tells what it could not. */
  prepare?(document: Document): { at: number; message: string }[];
  /** What a schema cannot tell: names that must exist, and the like. */
  check?(value: T): YamlProblem[];
}

type Told = { at: number; message: string };

/** Problems told at once. */
const MAX_TOLD = 5;

/** Reads YAML; `file` is for messages. Raises CONFIG, which names line, column and what was most likely meant. */
export function parseYamlFile<T>(text: string, file: string, rules: YamlRules<T>): T {
  const lines = new LineCounter();
  const fail = (problems: readonly Told[]) => configError(file, lines, problems, rules.hint);
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const broken = document.errors.map(({ pos, message }) => ({
    at: pos[0],
    message: message.split('\n')[0]?.replace(/ at line \d+.*/, '') ?? message,
  }));
  if (broken.length > 0) throw fail(broken);
  const unprepared = rules.prepare?.(document) ?? [];
  if (unprepared.length > 0) throw fail(unprepared);
  const result = rules.schema.safeParse(document.toJS());
  if (!result.success)
    throw fail(result.error.issues.flatMap((issue) => problemsOf(document, issue, rules.jsonSchema())));
  const wrong = rules.check?.(result.data) ?? [];
  if (wrong.length === 0) return result.data;
  throw fail(
    wrong.map(({ path, message, key }) => ({
      at: key ? keyPosition(document, path.slice(0, -1), String(path.at(-1))) : position(document, path),
      message: `${where(path)}${message}`,
    })),
  );
}

function configError(file: string, lines: LineCounter, problems: readonly Told[], hint: string): VolbakError {
  const told = problems
    .toSorted((a, b) => a.at - b.at)
    .map(({ at, message }) => {
      const { line, col } = lines.linePos(at);
      return `${file}:${line}:${col}: ${message}`;
    });
  const more = told.length > MAX_TOLD ? [`and ${told.length - MAX_TOLD} more`] : [];
  return new VolbakError('CONFIG', [...told.slice(0, MAX_TOLD), ...more].join('; '), { hint });
}

function where(path: YamlPath): string {
  return path.length === 0 ? '' : `${path.map(String).join('.')}: `;
}

/** How a name that is not known is told: with the one that was most likely meant, or with all. */
export function unknownName(what: string, name: string, known: readonly string[]): string {
  const meant = nearest(name, known);
  const hint = meant === undefined ? `known: ${known.join(', ')}` : `did you mean '${meant}'?`;
  return `unknown ${what} '${name}'; ${hint}`;
}

function problemsOf(document: Document, issue: z.core.$ZodIssue, jsonSchema: JsonSchema): Told[] {
  const { path } = issue;
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(jsonSchema, path);
    return issue.keys.map((key) => ({
      at: keyPosition(document, path, key),
      message: unknownName('key', key, known),
    }));
  }
  return [{ at: position(document, path), message: `${where(path)}${lowerFirst(issue.message)}` }];
}

function lowerFirst(text: string): string {
  return `${text.charAt(0).toLowerCase()}${text.slice(1)}`;
}

/** Where a value begins; of one that is missing, where what should hold it does. */
function position(document: Document, path: YamlPath): number {
  for (let length = path.length; length >= 0; length--) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return 0;
}

function keyPosition(document: Document, path: YamlPath, key: string): number {
  const map = path.length === 0 ? document.contents : document.getIn(path, true);
  const pair = isMap(map)
    ? map.items.find((item) => isNode(item.key) && String(item.key) === key)
    : undefined;
  return isNode(pair?.key) && pair.key.range ? pair.key.range[0] : position(document, path);
}

interface JsonSchema {
  properties?: Record<string, JsonSchema>;
  items?: JsonSchema;
  additionalProperties?: JsonSchema | boolean;
}

/** Keys that may stand at a place. */
function keysAt(schema: JsonSchema, path: YamlPath): string[] {
  let at: JsonSchema | undefined = schema;
  for (const step of path) {
    if (typeof step === 'number') at = at?.items;
    else at = at?.properties?.[String(step)] ?? (at?.additionalProperties as JsonSchema | undefined);
  }
  return Object.keys(at?.properties ?? {});
}
