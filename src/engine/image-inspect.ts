import { helperError } from './image-progress.ts';
import { TOOL_NAMES } from './image-tools.ts';

export interface RunResult {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** Runs a command in a short-lived, network-less, read-only container of an image. */
export type RunInImage = (image: string, cmd: string[]) => Promise<RunResult>;

/** What a helper image can do. */
export interface HelperAbilities {
  /** The first line of `tar --version` without the brackets, for example `GNU tar 1.34`. */
  tar: string;
  /** GNU tar: members can be named exactly, sparse files and extended attributes survive. */
  gnuTar: boolean;
  /** find knows -printf: a backup can be incremental. */
  find: boolean;
  /** sort knows -z. */
  sort: boolean;
  /** tar keeps extended attributes and ACLs. */
  xattrs: boolean;
  acls: boolean;
  /** Those of the usual tools that the image lacks. */
  missing: string[];
}

/** Uses only what any shell has itself: the image under test may have nothing else. */
const SCRIPT = `
tar --version 2>/dev/null | { read -r line; echo "tar=$line"; }
find / -maxdepth 0 -printf 'find=%y\\n' 2>/dev/null
[ "$(printf 'b\\0a\\0' | sort -z 2>/dev/null | tr '\\0' ' ' 2>/dev/null)" = 'a b ' ] && echo sort=yes
[ "$(tar --xattrs -cf /dev/null --files-from=/dev/null 2>&1)" = '' ] && echo xattrs=yes
[ "$(tar --acls -cf /dev/null --files-from=/dev/null 2>&1)" = '' ] && echo acls=yes
for tool in ${TOOL_NAMES.join(' ')}; do command -v "$tool" >/dev/null 2>&1 || echo "missing=$tool"; done
echo end=yes
`;

/** Finds out what a helper image can do by asking its tools. */
export async function inspectHelper(image: string, run: RunInImage): Promise<HelperAbilities> {
  const result = await run(image, ['sh', '-c', SCRIPT]);
  const facts = parseFacts(result.stdout);
  if (!facts.has('end')) throw notUsable(image, result);
  const tar = (facts.get('tar')?.[0] ?? '').replace(/^\w+ \(([^)]*)\)/, '$1');
  return {
    tar,
    gnuTar: tar.startsWith('GNU tar '),
    find: facts.get('find')?.[0] === 'd',
    sort: facts.has('sort'),
    xattrs: facts.has('xattrs'),
    acls: facts.has('acls'),
    missing: facts.get('missing') ?? [],
  };
}

function parseFacts(stdout: string): Map<string, string[]> {
  const facts = new Map<string, string[]>();
  for (const line of stdout.split('\n')) {
    const at = line.indexOf('=');
    if (at < 0) continue;
    const name = line.slice(0, at);
    facts.set(name, [...(facts.get(name) ?? []), line.slice(at + 1).trim()]);
  }
  return facts;
}

function notUsable(image: string, { exitCode, stderr }: RunResult) {
  const said = stderr.trim().split('\n')[0] ?? '';
  return helperError(
    `The image ${image} cannot be a helper: its shell ended with exit code ${exitCode}${said && `: ${said}`}.`,
    'A helper image needs a shell, GNU tar, find and sort: debian:stable-slim has them.',
  );
}
