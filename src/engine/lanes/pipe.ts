import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, lstat, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { processTag, tagState } from '../../core/process-identity.ts';
import { LANE_DIRECTORY } from '../attachment.ts';
import type { HelperMount } from '../helper.ts';

/**
 * The pipe lane: a FIFO in a directory that volbak and the helper share. Works where engine and volbak run on one
 * kernel, and moves two to four times as much as an attached stream.
 */
export interface Pipe {
  /** The FIFO as volbak sees it. */
  readonly path: string;
  /** The FIFO as the helper sees it. */
  readonly helperPath: string;
  readonly mount: HelperMount;
  /** Ends waiting of whoever opens the FIFO: called when the helper is gone. */
  release(): Promise<void>;
  remove(): Promise<void>;
}

/** A lane's directory says in its name whose it is: `volbak-lane-<process>-<random>`. */
const LANE_PREFIX = 'volbak-lane-';

/**
 * Makes the FIFO. Its directory can be entered, but not listed, by others, and the FIFO's own name cannot be guessed:
 * the helper has no right to override modes, and with user namespaces it is not our user.
 */
export async function createPipe(): Promise<Pipe> {
  const directory = await mkdtemp(join(tmpdir(), `${LANE_PREFIX}${processTag()}-`));
  await chmod(directory, 0o711);
  const name = randomBytes(16).toString('hex');
  const path = join(directory, name);
  await promisify(execFile)('mkfifo', ['-m', '0666', path]);
  await chmod(path, 0o666);
  return {
    path,
    helperPath: `${LANE_DIRECTORY}/${name}`,
    mount: { type: 'bind', source: directory, target: LANE_DIRECTORY, readOnly: true },
    release: async () => {
      // Opening both ends at once never waits, lets a waiting open() go on, and closing them again is its end of file.
      const both = await open(path, constants.O_RDWR | constants.O_NONBLOCK).catch(() => undefined);
      await both?.close();
    },
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}

/** Removes lanes of this user in the directory for temporary files whose process was killed. Returns how many. */
export async function sweepLanes(): Promise<number> {
  let removed = 0;
  for (const name of await readdir(tmpdir()).catch(() => [] as string[])) {
    const [, tag] = /^volbak-lane-([0-9a-f]+-\d+-\d+)-\w+$/.exec(name) ?? [];
    if (tag === undefined || tagState(tag) !== 'dead') continue;
    const directory = join(tmpdir(), name);
    const info = await lstat(directory).catch(() => undefined);
    // Anybody may make a directory of such a name: only our own are ours to remove.
    if (!info?.isDirectory() || info.uid !== process.getuid?.()) continue;
    await rm(directory, { recursive: true, force: true });
    removed++;
  }
  return removed;
}

/** What a helper script does so that `probePipe` can tell whether the FIFO is one and the same on both sides. */
export const PROBE_SCRIPT =
  '[ -z "$VOLBAK_LANE" ] || printf %s "$VOLBAK_PROBE" 1<>"$VOLBAK_LANE" 2>/dev/null';

/** Opens the probe's reading end; `arrived` tells afterwards whether the helper's token came through. */
export async function openProbe(
  pipe: Pipe,
): Promise<{ arrived(token: string): Promise<boolean>; close(): Promise<void> }> {
  const file = await open(pipe.path, constants.O_RDONLY | constants.O_NONBLOCK);
  return {
    async arrived(token) {
      const buffer = Buffer.alloc(token.length);
      try {
        const { bytesRead } = await file.read(buffer, 0, buffer.length);
        return buffer.toString('latin1', 0, bytesRead) === token;
      } catch {
        return false;
      }
    },
    close: () => file.close(),
  };
}
