import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { processTag, tagState } from '../../src/core/process-identity.ts';
import { createPipe, sweepLanes } from '../../src/engine/lanes/pipe.ts';
import { tempDir } from '../support/temp.ts';

const before = process.env.TMPDIR;
let temporary: string;
beforeEach(async () => {
  temporary = await tempDir();
  process.env.TMPDIR = temporary;
});
afterEach(() => {
  if (before === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = before;
});

/** The tag of a process of this host that has ended. */
function deadTag(): string {
  const { pid } = spawnSync('true');
  return processTag().replace(/-\d+-\d+$/, `-${pid}-1`);
}

it('removes the lanes of killed processes, with what is in them, and leaves all others alone', async () => {
  const dead = path.join(temporary, `volbak-lane-${deadTag()}-AbC123`);
  mkdirSync(dead);
  writeFileSync(path.join(dead, 'fifo'), '');
  const kept = ['volbak-lane-ffffffff-1-1-AbC123', 'volbak-lane-x', 'volbak-test', `other-${deadTag()}`];
  for (const name of kept) mkdirSync(path.join(temporary, name));
  const own = await createPipe();
  expect(await sweepLanes()).toBe(1);
  expect((await readdir(temporary)).sort()).toEqual([...kept, path.basename(path.dirname(own.path))].sort());
  await own.remove();
});

it('never follows a link that has such a name', async () => {
  const target = await tempDir();
  writeFileSync(path.join(target, 'mine'), '');
  symlinkSync(target, path.join(temporary, `volbak-lane-${deadTag()}-AbC123`));
  expect(await sweepLanes()).toBe(0);
  expect(existsSync(path.join(target, 'mine'))).toBe(true);
});

it('a tag tells the living from the dead, and never speaks for another host', () => {
  expect(tagState(processTag())).toBe('alive');
  expect(tagState(deadTag())).toBe('dead');
  expect(tagState(`00000000-${process.pid}-1`)).toBe('elsewhere');
  for (const odd of ['', '1-1-1', '../..', `${processTag()}x`]) expect(tagState(odd)).toBe('elsewhere');
});
