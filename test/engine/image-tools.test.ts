import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findTools, mergedPath, parseLdd, TOOL_NAMES } from '../../src/engine/image-tools.ts';

describe('parseLdd', () => {
  it('names libraries and loader, not the vdso', () => {
    const output = [
      '\tlinux-vdso.so.1 (0x00007ffc5a5f2000)',
      '\tlibacl.so.1 => /lib/x86_64-linux-gnu/libacl.so.1 (0x00007f3d1c2a0000)',
      '\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f3d1c0bf000)',
      '\t/lib64/ld-linux-x86-64.so.2 (0x00007f3d1c338000)',
    ].join('\n');
    expect(parseLdd(output, '/usr/bin/tar')).toEqual([
      '/lib/x86_64-linux-gnu/libacl.so.1',
      '/lib/x86_64-linux-gnu/libc.so.6',
      '/lib64/ld-linux-x86-64.so.2',
    ]);
  });

  it('knows static programs', () => {
    expect(parseLdd('\tstatically linked\n', '/bin/x')).toEqual([]);
  });

  it('names a missing library', () => {
    expect(() => parseLdd('\tlibacl.so.1 => not found\n', '/usr/bin/tar')).toThrowError(
      expect.objectContaining({ code: 'HELPER_FAILED', message: expect.stringContaining('libacl.so.1') }),
    );
  });
});

it('puts libraries where the links of the image lead', () => {
  expect(mergedPath('/lib64/ld-linux-x86-64.so.2')).toBe('usr/lib64/ld-linux-x86-64.so.2');
  expect(mergedPath('/lib/x86_64-linux-gnu/libc.so.6')).toBe('usr/lib/x86_64-linux-gnu/libc.so.6');
  expect(mergedPath('/usr/lib/a/../libc.so.6')).toBe('usr/lib/libc.so.6');
  expect(mergedPath('/nix/store/x-glibc/lib/libc.so.6')).toBe('nix/store/x-glibc/lib/libc.so.6');
});

describe('findTools', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'volbak-tools-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  function program(name: string, version: string): void {
    writeFileSync(join(dir, name), `#!/bin/sh\necho '${version}'\n`);
    chmodSync(join(dir, name), 0o755);
  }

  function gnuTools(): void {
    for (const name of TOOL_NAMES) program(name, `${name} (GNU coreutils) 9.1`);
    program('tar', 'tar (GNU tar) 1.34');
    program('find', 'find (GNU findutils) 4.9.0');
  }

  it('finds all', async () => {
    gnuTools();
    expect((await findTools(['/nonexistent', dir])).map(({ name }) => name)).toEqual(TOOL_NAMES);
  });

  it('does without sha256sum', async () => {
    gnuTools();
    rmSync(join(dir, 'sha256sum'));
    expect((await findTools([dir])).map(({ name }) => name)).not.toContain('sha256sum');
  });

  it('names tools that are missing or not GNU, and their packages', async () => {
    gnuTools();
    rmSync(join(dir, 'stat'));
    program('tar', 'tar (busybox) 1.35.0');
    program('find', 'BusyBox v1.35.0');
    await expect(findTools([dir])).rejects.toMatchObject({
      code: 'HELPER_FAILED',
      message: expect.stringMatching(/it lacks stat; its tar, find are not GNU/),
      hint: expect.stringMatching(/packages tar, findutils, coreutils,/),
    });
  });
});
