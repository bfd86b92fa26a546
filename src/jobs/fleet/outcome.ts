import { ERROR_CODES, EXIT_PARTIAL } from '../../core/errors.ts';
import type { TaskOutput } from '../../engine/swarm-job.ts';
import type { NodeResult } from './types.ts';

/** What a command of volbak said last with --json: its summary, or its document; and its error. */
export function readResult(output: TaskOutput): Pick<NodeResult, 'result' | 'error'> {
  const document = parse(output.stdout);
  if (document !== undefined && !isEvent(document)) return { result: document };
  const found: Pick<NodeResult, 'result' | 'error'> = {};
  for (const line of output.stdout.split('\n')) {
    const told = parse(line);
    if (!isEvent(told)) continue;
    if (told.event === 'summary') found.result = told;
    if (told.event === 'error') found.error = told as unknown as NonNullable<NodeResult['error']>;
  }
  return found;
}

/** Of a node whose volbak failed without a word of its own: the last line of standard error. */
export function lastWords(output: TaskOutput): string | undefined {
  return output.stderr.trim().split('\n').at(-1) || undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isEvent(value: unknown): value is { event: string } {
  return (
    typeof value === 'object' && value !== null && typeof (value as { event?: unknown }).event === 'string'
  );
}

/** 0 where all nodes did well, 3 where a result is incomplete, else the code of the first node that failed. */
export function exitOf(nodes: readonly NodeResult[]): number {
  const failed = nodes.find(({ exit }) => exit !== 0 && exit !== EXIT_PARTIAL);
  if (failed) return failed.exit;
  return nodes.some(({ exit }) => exit === EXIT_PARTIAL) ? EXIT_PARTIAL : 0;
}

/** A node that ran nothing, or of which nobody knows what it ran. */
export function withoutExit(node: string, nodeId: string, state: string, message: string): NodeResult {
  return {
    node,
    nodeId,
    state,
    exit: ERROR_CODES.ENGINE_UNREACHABLE,
    error: { code: 'ENGINE_UNREACHABLE', message },
  };
}
