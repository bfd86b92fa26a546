import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { Pack } from 'tar-stream';
import type { EngineConnection } from './connect.ts';
import { engineMessage, followEngineCall, helperError } from './image-progress.ts';
import { filesOf, findTools, type PackedFile, TOOL_DIRS } from './image-tools.ts';
import { HELPER_IMAGE_LABEL } from './labels.ts';

export interface BuildOptions {
  /** volbak's own version: the tag of the image. */
  version: string;
  signal?: AbortSignal | undefined;
  log?: ((message: string) => void) | undefined;
  /** Where to look for the tools. */
  toolDirs?: readonly string[] | undefined;
}

/** Empty directories: mount points, and what a container expects. There must be no /etc/passwd: names stay numbers. */
const DIRECTORIES: Record<string, number> = {
  dev: 0o755,
  etc: 0o755,
  proc: 0o755,
  sys: 0o755,
  tmp: 0o1777,
  volbak: 0o755,
};

/** /lib64/ld-linux-x86-64.so.2 and the like are written into the programs: with these links they resolve. */
const LINKED_TO_USR = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'];

const STALL_MS = 60_000;
const GO_ARCH: Partial<Record<NodeJS.Architecture, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm',
  ia32: '386',
};

/** The name of the image that volbak makes itself. */
export function helperImageName(version: string): string {
  // A tag knows no "+": semver's build metadata becomes a part of the name.
  return `volbak-helper:${version.replace(/[^\w.-]/g, '-')}`;
}

/** Why this machine's programs cannot run on that engine; undefined where they can. */
export function whyNotBuildable(
  engine: EngineConnection,
  here: { platform: string; arch: string } = process,
): string | undefined {
  const { os, arch } = engine.info;
  if (here.platform !== 'linux') return `this machine runs ${here.platform}, not Linux`;
  if (os !== 'linux') return `the engine runs ${os} containers`;
  const ours = GO_ARCH[here.arch as NodeJS.Architecture] ?? here.arch;
  return ours === arch ? undefined : `this machine is ${ours}, the engine ${arch}`;
}

/** Makes the helper image out of this machine's own GNU tools and imports it into the engine: no registry needed. */
export async function buildHelperImage(engine: EngineConnection, options: BuildOptions): Promise<string> {
  const obstacle = whyNotBuildable(engine);
  if (obstacle) {
    throw helperError(
      `A helper image cannot be built from this machine's tools: ${obstacle}.`,
      'Name an image that the engine has, or can pull, with --helper-image.',
    );
  }
  const name = helperImageName(options.version);
  const files = await filesOf(await findTools(options.toolDirs ?? TOOL_DIRS));
  options.log?.(`building ${name} from this machine's tools (${files.length} files)`);
  const pack = await packHelper(files);
  try {
    await followEngineCall((signal) => importTar(engine, pack, name, options.version, signal), {
      signal: options.signal,
      stallMs: STALL_MS,
    });
  } catch (error) {
    options.signal?.throwIfAborted();
    throw helperError(
      `The helper image ${name} could not be imported into ${engine.endpoint.label}: ${engineMessage(error)}`,
      'Make sure that the engine has space left, or name an image with --helper-image.',
      error,
    );
  } finally {
    pack.destroy();
  }
  return name;
}

function importTar(
  engine: EngineConnection,
  tar: Readable,
  name: string,
  version: string,
  signal: AbortSignal,
): Promise<NodeJS.ReadableStream> {
  const separator = name.lastIndexOf(':');
  return engine.docker.importImage(tar, {
    repo: name.slice(0, separator),
    tag: name.slice(separator + 1),
    message: `volbak ${version}: GNU tools of the machine that built it`,
    changes: [`LABEL ${HELPER_IMAGE_LABEL}=${version}`, 'ENV PATH=/usr/bin', 'ENV LC_ALL=C'],
    abortSignal: signal,
  });
}

/** The root file system of the helper image as a tar; files are read one after the other as the tar is read. */
export async function packHelper(files: readonly PackedFile[]): Promise<Readable> {
  const { pack } = await import('tar-stream');
  const tar = pack();
  // tar-stream streams are streamx's: node's pipe and abort want a Readable of node.
  const output = Readable.from(tar as unknown as AsyncIterable<Uint8Array>, { objectMode: false });
  fill(tar, files).catch((error: Error) => tar.destroy(error));
  return output;
}

async function fill(tar: Pack, files: readonly PackedFile[]): Promise<void> {
  const mtime = new Date(0); // the same tools make the same image
  const directories = new Map(Object.entries(DIRECTORIES));
  for (const { target } of files) {
    for (const parent of parentsOf(target)) if (!directories.has(parent)) directories.set(parent, 0o755);
  }
  for (const name of LINKED_TO_USR) directories.set(`usr/${name}`, 0o755);
  for (const [name, mode] of [...directories].sort(([a], [b]) => (a < b ? -1 : 1))) {
    tar.entry({ name: `${name}/`, type: 'directory', mode, mtime });
  }
  for (const name of LINKED_TO_USR) {
    tar.entry({ name, type: 'symlink', linkname: `usr/${name}`, mode: 0o777, mtime });
  }
  for (const { source, target } of files) {
    const content = await readFile(source);
    await new Promise<void>((resolve, reject) => {
      tar.entry({ name: target, mode: 0o755, mtime }, content, (error) =>
        error ? reject(error) : resolve(),
      );
    });
  }
  tar.finalize();
}

function parentsOf(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, i) => parts.slice(0, i + 1).join('/'));
}
