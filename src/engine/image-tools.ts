import { execFile } from 'node:child_process';
import { access, constants, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { helperError } from './image-progress.ts';

const run = promisify(execFile);

/** A program of this machine, to be packed under its plain name. */
export interface Tool {
  name: string;
  file: string;
}

/** A file to be packed: where it is here, and its path in the image (no leading slash). */
export interface PackedFile {
  source: string;
  target: string;
}

/** The programs of the helper image, by the Debian package that has them. */
const PACKAGES: Record<string, string[]> = {
  dash: ['sh'],
  tar: ['tar'],
  findutils: ['find'],
  coreutils: [
    ...['sort', 'tr', 'sync', 'stat', 'cat', 'sleep', 'mkdir', 'mv', 'rm', 'ls', 'chmod', 'chown', 'touch'],
    ...['dd', 'df', 'cp', 'ln', 'readlink', 'head', 'env', 'true'],
  ],
};

const OPTIONAL = ['sha256sum', 'getfattr', 'setfattr', 'gzip'];

/** What `--version` of the GNU tools says; busybox and others have the same names, but not the same abilities. */
const GNU: Record<string, RegExp> = {
  tar: /^tar \(GNU tar\)/,
  find: /^find \(GNU findutils\)/,
  sort: /^sort \(GNU coreutils\)/,
};

export const TOOL_NAMES: readonly string[] = [...Object.values(PACKAGES).flat(), ...OPTIONAL];

/** Where programs are looked for; not PATH, which may lead to wrappers and private builds. */
export const TOOL_DIRS: readonly string[] = [
  ...['/usr/bin', '/bin', '/usr/sbin', '/sbin', '/usr/local/bin', '/run/current-system/sw/bin'],
];

/** Finds this machine's tools; where some are missing or not GNU, one error names them and their packages. */
export async function findTools(dirs: readonly string[] = TOOL_DIRS): Promise<Tool[]> {
  const found = new Map<string, string>();
  for (const name of TOOL_NAMES) {
    const file = await findProgram(name, dirs);
    if (file) found.set(name, file);
  }
  const missing = TOOL_NAMES.filter((name) => !found.has(name) && !OPTIONAL.includes(name));
  const foreign: string[] = [];
  for (const [name, pattern] of Object.entries(GNU)) {
    const file = found.get(name);
    if (file && !pattern.test(await versionOf(file))) foreign.push(name);
  }
  if (missing.length + foreign.length > 0) throw toolsError(missing, foreign);
  return [...found].map(([name, file]) => ({ name, file }));
}

function toolsError(missing: string[], foreign: string[]) {
  const lacks = missing.length > 0 ? [`it lacks ${missing.join(', ')}`] : [];
  const others =
    foreign.length > 0 ? [`its ${foreign.join(', ')} ${foreign.length > 1 ? 'are' : 'is'} not GNU`] : [];
  const wanted = Object.entries(PACKAGES).filter(([, names]) =>
    names.some((name) => missing.includes(name) || foreign.includes(name)),
  );
  return helperError(
    `A helper image cannot be built from this machine's tools: ${[...lacks, ...others].join('; ')}.`,
    `Install the packages ${wanted.map(([name]) => name).join(', ')}, or name an image with --helper-image.`,
  );
}

async function findProgram(name: string, dirs: readonly string[]): Promise<string | undefined> {
  for (const dir of dirs) {
    const file = join(dir, name);
    const usable = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return file;
  }
  return undefined;
}

async function versionOf(file: string): Promise<string> {
  try {
    return (await run(file, ['--version'], { env: { LC_ALL: 'C' } })).stdout;
  } catch {
    return '';
  }
}

/** All files of an image with these tools: the programs and the libraries and loaders that they need. */
export async function filesOf(tools: readonly Tool[]): Promise<PackedFile[]> {
  const files = new Map<string, string>();
  for (const { name, file } of tools) {
    const real = await realpath(file);
    files.set(`usr/bin/${name}`, real);
    for (const library of await librariesOf(real)) {
      files.set(mergedPath(library), await realpath(library));
    }
  }
  return [...files].map(([target, source]) => ({ target, source }));
}

async function librariesOf(file: string): Promise<string[]> {
  let output: string;
  try {
    output = (await run('ldd', [file], { env: { LC_ALL: 'C', PATH: TOOL_DIRS.join(':') } })).stdout;
  } catch (error) {
    const said = `${(error as { stdout?: string }).stdout ?? ''}${(error as { stderr?: string }).stderr ?? ''}`;
    if (/not a dynamic executable|statically linked|not a valid dynamic program/i.test(said)) return [];
    throw helperError(
      `A helper image cannot be built from this machine's tools: ldd ${file} failed.`,
      'Install ldd (package libc-bin), or name an image with --helper-image.',
      error,
    );
  }
  return parseLdd(output, file);
}

/** The files that `ldd` names; the kernel's vdso is none. */
export function parseLdd(output: string, file: string): string[] {
  const paths: string[] = [];
  for (const line of output.split('\n')) {
    const lost = /^\s*(\S+) => not found/.exec(line);
    if (lost) {
      throw helperError(
        `A helper image cannot be built from this machine's tools: ${file} needs the library ${lost[1]}, which is missing.`,
        'Repair that package, or name an image with --helper-image.',
      );
    }
    const path = /^\s*(?:\S+ => )?(\/\S+) \(0x[0-9a-f]+\)/.exec(line)?.[1];
    if (path) paths.push(path);
  }
  return paths;
}

/** A library's path in the image: there /lib and its kin are links into /usr, whatever they are on this machine. */
export function mergedPath(path: string): string {
  const clean = join(dirname(path), basename(path)).slice(1);
  return /^(lib\w*|s?bin)\//.test(clean) ? `usr/${clean}` : clean;
}
