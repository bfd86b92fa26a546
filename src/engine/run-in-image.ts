import type { EngineConnection } from './connect.ts';
import type { RunInImage } from './image-inspect.ts';
import { collectOutput, runHelper } from './run-helper.ts';

/** Runs a command in a helper of any image; for `inspectHelper`. */
export function runInImage(engine: EngineConnection, signal?: AbortSignal): RunInImage {
  return async (image, cmd) => {
    const spec = { image, purpose: 'inspect-image', script: 'exec "$@"', args: cmd };
    const { exitCode, stderr, result } = await runHelper(engine, spec, collectOutput, signal);
    return { exitCode, stdout: result.toString('utf8'), stderr: stderr.lines.join('\n') };
  };
}
