import { execFile } from 'node:child_process';
import path from 'node:path';

function script(name: string, ...args: string[]): Promise<{ exit: number; output: string }> {
  return new Promise((resolve, reject) => {
    const file = path.join(import.meta.dirname, name);
    execFile(file, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number') reject(error);
      else resolve({ exit: typeof error?.code === 'number' ? error.code : 0, output: stderr + stdout });
    });
  });
}

/** Fills an empty directory with the tree that is hard to archive. */
export async function hardTree(dir: string): Promise<void> {
  const { exit, output } = await script('hard-tree.sh', dir);
  if (exit !== 0) throw new Error(`hard-tree.sh ${dir}: exit ${exit}\n${output}`);
}

/** What differs between two trees by what GNU tar sees of them; '' where nothing does. */
export async function treeDifferences(
  a: string,
  b: string,
  options: { withoutRoot?: boolean } = {},
): Promise<string> {
  const { exit, output } = await script(
    'compare-trees.sh',
    ...(options.withoutRoot ? ['--without-root'] : []),
    a,
    b,
  );
  if (exit > 1) throw new Error(`compare-trees.sh ${a} ${b}: exit ${exit}\n${output}`);
  return output;
}
