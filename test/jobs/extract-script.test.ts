import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ArchiveTraits, extractScript, NOT_ON_DISK } from '../../src/jobs/write/extract-script.ts';

let root: string;
let archive: Buffer;

/** Directories left and come back to above, a file after them, links across them: what tar has to keep times right for. */
const TREE = `
cd "$1"; mkdir -p a/b/c a/d e
echo 1 >a/b/c/file; ln -s /etc/../x a/b/link; ln -s here e/plain; echo 2 >a/z; echo 3 >z
ln a/b/c/file e/file; ln -P a/b/link a/d/link; ln -P a/b/link e/link
n=1000000000; for d in a/b/c a/b a/d a e .; do touch -d "@$n" "$d"; n=$((n + 1)); done`;

const ARCHIVE = `
cd "$1"; find . -print0 | tr '/\\001' '\\001/' | LC_ALL=C sort -z | tr '/\\001' '\\001/' |
  tar --create --format=pax --no-recursion --null --files-from=-`;

const sh = (script: string, ...args: string[]) => execFileSync('sh', ['-c', script, 'sh', ...args]);
const timesOf = (path: string) => sh('cd "$1"; find . -type d -printf "%p %T@\\n" | sort', path).toString();

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'extract-script-'));
  for (const name of ['from', 'to', 'bin', 'tmp']) mkdirSync(join(root, name));
  sh(TREE, join(root, 'from'));
  archive = sh(ARCHIVE, join(root, 'from'));
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

interface Run {
  /** A `sync` of the test's own; $n is the number of the call: 1 is that for /proc. */
  sync?: string;
  /** Milliseconds before the archive comes. */
  delay?: number;
}

/** Runs the script as a helper does. */
async function run(input: Buffer, traits: ArchiveTraits, { sync, delay = 0 }: Run = {}) {
  if (sync) {
    const count = `echo >>'${root}/calls'; n=$(wc -l <'${root}/calls')`;
    writeFileSync(join(root, 'bin/sync'), `#!/bin/sh\n${count}\n${sync}\n`);
    chmodSync(join(root, 'bin/sync'), 0o755);
  }
  const to = join(root, 'to');
  const env = { ...process.env, PATH: `${root}/bin:${process.env.PATH}`, VOLBAK_TMP: join(root, 'tmp') };
  const child = spawn('sh', ['-c', extractScript(traits), 'sh', to, '', to], { env });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  let stderr = '';
  child.stderr.on('data', (bytes) => {
    stderr += bytes;
  });
  await sleep(delay);
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  return { status: await ended, stderr };
}

describe('the script that extracts', () => {
  test.each([{ ordered: true }, { ordered: false }])('gives directories their times: %o', async (traits) => {
    expect((await run(archive, traits)).status).toBe(0);
    expect(timesOf(join(root, 'to'))).toBe(timesOf(join(root, 'from')));
    expect(statSync(join(root, 'to/e/file')).nlink).toBe(2);
  });

  test('takes an archive through gzip, and fails where that is cut off', async () => {
    const packed = gzipSync(archive);
    expect((await run(packed, { compressed: true })).status).toBe(0);
    expect(timesOf(join(root, 'to'))).toBe(timesOf(join(root, 'from')));
    expect((await run(packed.subarray(0, packed.length - 6), { compressed: true })).status).not.toBe(0);
  });

  test('fails with what tar says where the archive is none', async () => {
    const { status, stderr } = await run(Buffer.alloc(2048, 'no tar'), { ordered: true });
    expect(status).toBe(2);
    expect(stderr).toContain('This does not look like a tar archive');
  });

  test('does without a sync that can be asked for one file system', async () => {
    expect((await run(archive, {}, { sync: 'exit 1', delay: 1500 })).status).toBe(0);
    expect(readdirSync(join(root, 'tmp'))).toEqual([]);
  });

  const fails = 'echo "sync: error syncing: Input/output error" >&2; exit 1';

  test('does not mind what failed before it began', async () => {
    expect((await run(archive, {}, { sync: `[ $n != 2 ] || { ${fails}; }` })).status).toBe(0);
  });

  test.each([
    ['at the end', `[ $n != 3 ] || { ${fails}; }`, 0],
    ['while tar is at work, though it is told only once', `[ $n != 3 ] || { ${fails}; }`, 1500],
    ['in a call that lasts longer than tar', `[ $n != 3 ] || { sleep 2; ${fails}; }`, 1500],
  ])('fails where what was written cannot be brought to the disk: %s', async (_, sync, delay) => {
    const { status, stderr } = await run(archive, {}, { sync, delay });
    expect(status).toBe(NOT_ON_DISK);
    expect(stderr.trim().split('\n').at(-1)).toBe('sync: error syncing: Input/output error');
  });
});
