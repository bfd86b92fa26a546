import { type Document, isMap, isNode, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { VolbakError } from '../core/errors.ts';
import { nearest } from '../core/nearest.ts';
import { type RecipeFile, recipeJsonSchema, recipeSchema } from './schema.ts';

type Path = readonly PropertyKey[];
type Problem = { at: number; message: string };

/** Problems told at once. */
const MAX_TOLD = 5;

/** Reads a recipe; `file` is for messages. Raises CONFIG, which names line, column and what was most likely meant. */
export function parseRecipe(text: string, file: string): RecipeFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const broken = document.errors.map(({ pos, message }) => ({
    at: pos[0],
    message: message.split('\n')[0]?.replace(/ at line \d+.*/, '') ?? message,
  }));
  if (broken.length > 0) throw configError(file, lines, broken);
  const result = recipeSchema.safeParse(document.toJS());
  if (result.success) return result.data;
  throw configError(
    file,
    lines,
    result.error.issues.flatMap((issue) => problemsOf(document, issue)),
  );
}

function configError(file: string, lines: LineCounter, problems: readonly Problem[]): VolbakError {
  const told = problems
    .toSorted((a, b) => a.at - b.at)
    .map(({ at, message }) => {
      const { line, col } = lines.linePos(at);
      return `${file}:${line}:${col}: ${message}`;
    });
  const more = told.length > MAX_TOLD ? [`and ${told.length - MAX_TOLD} more`] : [];
  return new VolbakError('CONFIG', [...told.slice(0, MAX_TOLD), ...more].join('; '), {
    hint: 'schema/recipe.schema.json describes recipes; `volbak recipes <name>` shows one.',
  });
}

function problemsOf(document: Document, issue: z.core.$ZodIssue): Problem[] {
  const { path } = issue;
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(recipeJsonSchema(), path);
    return issue.keys.map((key) => {
      const meant = nearest(key, known);
      const hint = meant === undefined ? `known: ${known.join(', ')}` : `did you mean '${meant}'?`;
      return { at: keyPosition(document, path, key), message: `unknown key '${key}'; ${hint}` };
    });
  }
  const where = path.length === 0 ? '' : `${path.map(String).join('.')}: `;
  return [{ at: position(document, path), message: `${where}${lowerFirst(issue.message)}` }];
}

function lowerFirst(text: string): string {
  return `${text.charAt(0).toLowerCase()}${text.slice(1)}`;
}

/** Where a value begins; of one that is missing, where what should hold it does. */
function position(document: Document, path: Path): number {
  for (let length = path.length; length >= 0; length--) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return 0;
}

function keyPosition(document: Document, path: Path, key: string): number {
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
function keysAt(schema: JsonSchema, path: Path): string[] {
  let at: JsonSchema | undefined = schema;
  for (const step of path) {
    if (typeof step === 'number') at = at?.items;
    else at = at?.properties?.[String(step)] ?? (at?.additionalProperties as JsonSchema | undefined);
  }
  return Object.keys(at?.properties ?? {});
}
