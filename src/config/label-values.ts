import type { z } from 'zod';
import { nearest } from '../core/nearest.ts';
import { unknownName } from '../core/yaml-file.ts';
import { ACTIONS } from './actions.ts';
import {
  LABEL_NAMES,
  LABEL_OPTIONS,
  LABEL_PREFIX,
  type LabelName,
  type LabelOptions,
} from './label-options.ts';

/** What the labels of a container say, and what is wrong with them. */
export interface ReadLabels {
  /** Undefined where it is not said. */
  enable: boolean | undefined;
  options: LabelOptions;
  problems: string[];
}

const YES = /^(?:true|1|yes|on|)$/i;
const NO = /^(?:false|0|no|off)$/i;

function flag(text: string): boolean | undefined {
  if (YES.test(text.trim())) return true;
  return NO.test(text.trim()) ? false : undefined;
}

/** Several values: separated by commas, or, where they hold commas themselves, a list of JSON. */
function several(text: string): unknown {
  if (!text.trimStart().startsWith('[')) return text.split(',').map((part) => part.trim());
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function pairs(text: string): unknown {
  const parts = text.split(',').map((part) => part.trim());
  if (!parts.every((part) => part.indexOf('=') > 0)) return undefined;
  return Object.fromEntries(
    parts.map((part) => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)]),
  );
}

const KIND_OF = new Map<string, string>(
  [...Object.entries(ACTIONS.backup), ...Object.entries(ACTIONS.forget)].map(([name, [kind]]) => [
    name,
    kind,
  ]),
);

/** Labels are texts; volbak.yaml has values. */
function valueIn(name: LabelName, text: string): unknown {
  if (name === 'verify' || name === 'drill') return flag(text) ?? text;
  if (name === 'silence' && flag(text) === false) return false;
  if (name === 'before' || name === 'after') return text.trimStart().startsWith('[') ? several(text) : text;
  switch (KIND_OF.get(name)) {
    case 'flag':
      return flag(text);
    case 'texts':
      return several(text);
    case 'pairs':
      return pairs(text);
    case 'count':
      return /^\d+$/.test(text.trim()) ? Number(text) : undefined;
    default:
      return text;
  }
}

const WANTED: Record<string, string> = {
  flag: 'true or false',
  texts: 'values with commas between, or a JSON list',
  pairs: 'key=value, several with commas between',
  count: 'a whole number from 1',
};

/** What is wrong with a value; undefined where it is right. */
function complaint(name: LabelName, value: unknown): string | undefined {
  if (value === undefined) return `it must be ${WANTED[KIND_OF.get(name) ?? ''] ?? 'something else'}`;
  const schema: z.ZodType = LABEL_OPTIONS[name];
  const { error } = schema.safeParse(value);
  const message = error?.issues[0]?.message;
  return message === undefined ? undefined : `${message.charAt(0).toLowerCase()}${message.slice(1)}`;
}

/** Reads the labels of a container that are ours. What is wrong is left out and told; it raises nothing. */
export function readLabels(labels: Readonly<Record<string, string>>): ReadLabels {
  const read: ReadLabels = { enable: undefined, options: {}, problems: [] };
  const options: Partial<Record<LabelName, unknown>> = {};
  for (const [label, text] of Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!label.startsWith(LABEL_PREFIX)) continue;
    const name = label.slice(LABEL_PREFIX.length);
    if (name === 'enable') {
      read.enable = flag(text);
      if (read.enable === undefined) read.problems.push(`label ${label}=${text}: it must be true or false`);
    } else if (!(LABEL_NAMES as string[]).includes(name)) {
      const known = ['enable', ...LABEL_NAMES].map((other) => `${LABEL_PREFIX}${other}`);
      read.problems.push(unknownName('label', label, known));
    } else {
      const value = valueIn(name as LabelName, text);
      const wrong = complaint(name as LabelName, value);
      if (wrong === undefined) options[name as LabelName] = value;
      else read.problems.push(`label ${label}=${text}: ${wrong}${meant(name as LabelName, text)}`);
    }
  }
  if (options.stop === true && options.pause === true) {
    delete options.stop;
    read.problems.push(
      `labels ${LABEL_PREFIX}stop and ${LABEL_PREFIX}pause exclude each other; it is paused`,
    );
  }
  return { ...read, options };
}

/** Values of which there are only some: the one that was most likely meant. */
function meant(name: LabelName, text: string): string {
  const known = name === 'overlap' ? ['queue', 'skip', 'fail'] : name === 'missed' ? ['once', 'skip'] : [];
  const near = KIND_OF.get(name) === 'flag' ? nearest(text, ['true', 'false']) : nearest(text, known);
  return near === undefined ? '' : `; did you mean '${near}'?`;
}
