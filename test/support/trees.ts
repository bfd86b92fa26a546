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

/** A script for a small tree with some of each: quick where the hard one would take too long. */
export const SMALL_TREE = `mkdir -p "a b/c" empty; echo one >"a b/one"; ln "a b/one" "a b/c/again"; ln -s ../nowhere "a b/link"
  head -c 300000 /dev/urandom >random; truncate -s 5M sparse; echo end >>sparse; mkfifo fifo; chmod 2750 "a b"
  setfattr -n user.note -v hi random; setfacl -m u:7:r "a b/one"; chown -hR 70:71 "a b"; touch -hd @-1.5 "a b/link"; touch -d @1600000000.25 empty random .`;
