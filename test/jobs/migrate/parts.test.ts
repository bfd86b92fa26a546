import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Handover } from '../../../src/jobs/migrate/handover.ts';
import { removeCommands } from '../../../src/jobs/write/remove.ts';
import { tempDir } from '../../support/temp.ts';

describe('handing chunks over', () => {
  it('keeps their order, one at a time, to the end', async () => {
    const handover = new Handover();
    let pushed = 0;
    const pushing = (async () => {
      for (const n of [1, 2, 3]) {
        await handover.push(Uint8Array.of(n));
        pushed++;
      }
      handover.end();
    })();
    const taken: number[] = [];
    for await (const [n] of handover) {
      expect(pushed).toBe(taken.length);
      taken.push(n as number);
    }
    await pushing;
    expect(taken).toEqual([1, 2, 3]);
  });

  it('raises at one side what broke the other', async () => {
    const broken = new Handover();
    broken.end(new Error('source broke'));
    await expect(broken[Symbol.asyncIterator]().next()).rejects.toThrow('source broke');
    const left = new Handover();
    const waiting = left.push(Uint8Array.of(1));
    left.abandon();
    await expect(waiting).rejects.toThrow('nobody takes');
    await expect(left.push(Uint8Array.of(2))).rejects.toThrow('nobody takes');
    const dropped = new Handover();
    const inHand = dropped.push(Uint8Array.of(1));
    for await (const _ of dropped) break;
    await expect(inHand).rejects.toThrow('nobody takes');
  });
});

describe('removing paths by commands', () => {
  it('removes exactly those, whatever bytes are in their names', async () => {
    const dir = await tempDir();
    const odd = [
      "it's",
      'a b',
      '$(touch made)',
      '-rf',
      '"',
      'new\nline',
      '\\',
      '*',
      '`touch made`',
      "'; touch made; '",
    ];
    for (const name of [...odd, 'stays', 'stays too']) writeFileSync(`${dir}/${name}`, '');
    mkdirSync(`${dir}/tree/deep`, { recursive: true });
    const bytes = Buffer.from([0x2f, 0x81, 0x88, 0xff]);
    writeFileSync(Buffer.concat([Buffer.from(dir), bytes]), '');
    const paths = [
      ...odd.map((name) => `./${name}`),
      './tree',
      `.${bytes.toString('latin1')}`,
      './not-there',
    ];
    const script = Buffer.concat([...removeCommands(paths)]);
    const output = execFileSync('sh', ['-c', 'exec sh -e -s'], {
      cwd: dir,
      input: script,
      env: { LC_ALL: 'C', PATH: '/usr/bin:/bin' },
    });
    expect(output.toString()).toBe('removed\n');
    expect(readdirSync(dir).sort()).toEqual(['stays', 'stays too']);
  });
});
