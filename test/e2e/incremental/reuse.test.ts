import { describe, expect, it } from 'vitest';
import { mountpoint } from '../../support/engine.ts';
import { failingDisk } from '../../support/failing-disk.ts';
import { talkTo } from '../../support/processes.ts';
import { bash, type Site, site, summary, warnings } from '../../support/site.ts';
import type { Json } from '../../support/volbak.ts';

const MiB = 1024 * 1024;
/** Times become trustworthy two seconds after they were taken. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 2200));

/** Backs a volume up; the summary's one volume. */
async function backup(at: Site, volume: string, ...options: string[]): Promise<Json> {
  const result = await at.run('backup', '--volume', volume, ...options);
  const [snapshot] = summary(result).snapshots;
  const named = snapshot.warnings.map((w: Json) => w.path ?? w.message);
  return { ...snapshot.volumes[0], id: snapshot.id, exit: result.exit, named, warnings: warnings(result) };
}

async function digestOf(at: Site, volume: string): Promise<string> {
  return (await bash(`recipes/digest.sh '${await mountpoint(at.host, volume)}'`)).trim();
}

const TREE =
  'mkdir -p a/b c; for n in $(seq 400); do echo "file $n" >a/b/$n; head -c 20000 /dev/urandom >c/$n; done; ln a/b/7 linked; echo x >a-b';

const BIG = 'head -c 60000000 /dev/urandom >big';

describe('a second backup', () => {
  it('of an unchanged volume reads nothing and stores nothing', async () => {
    const at = await site();
    const volume = await at.volume('v', TREE);
    await settle();
    const first = await backup(at, volume);
    expect(await backup(at, volume)).toMatchObject({
      readBytes: 0,
      newBytes: 0,
      storedBytes: 0,
      digest: first.digest,
      entries: first.entries,
      tarBytes: first.tarBytes,
    });
    expect((await backup(at, volume, '--full')).readBytes).toBe(first.tarBytes);
  });

  it('is told to be unchanged by one hash of the listing, and its manifest is as the one before', async () => {
    const at = await site();
    const volume = await at.volume('v', `${TREE}; mkfifo pipe`);
    await settle();
    const manifests: Json[] = [];
    for (const leftOut of ['*7', '*7', '*8']) {
      const { id } = await backup(at, volume, '--exclude', leftOut);
      manifests.push((await at.document('show', id)).volumes[0]);
    }
    const [first, second, third] = manifests;
    expect(first.listing).toMatch(/^[0-9a-f]{64}$/);
    expect(second).toEqual({ ...first, listed: second.listed, readBytes: 0, newBytes: 0, storedBytes: 0 });
    expect(third.listing).not.toBe(first.listing);
    expect(third.digest).not.toBe(first.digest);
  });

  it('where other volumes of the source are unchanged finds in them what was moved out of them', async () => {
    const at = await site();
    const [from, to] = [await at.volume('from', BIG), await at.volume('to', 'echo x >x')];
    await settle();
    await at.ok('backup', '--volume', from, '--volume', to);
    await bash(`cp '${await mountpoint(at.host, from)}/big' '${await mountpoint(at.host, to)}/copy'`);
    const { snapshots } = await at.ok('backup', '--volume', from, '--volume', to);
    const added = snapshots
      .flatMap((s: Json) => s.volumes)
      .reduce((sum: number, v: Json) => sum + v.newBytes, 0);
    expect(added).toBeLessThan(MiB);
  });

  it.each([
    [
      'one byte of a large file changed',
      'printf X | dd of=big bs=1 seek=30000000 conv=notrunc status=none',
      BIG,
      70 * MiB,
    ],
    ['a file was added', 'echo new >a/b/new', ':', MiB],
    ['a file was touched', 'touch -d 2001-01-01 c/17', ':', MiB],
    ['a small file was renamed', 'mv a/b/100 a/b/renamed', ':', MiB],
    ['a large file was moved to another directory', 'mv big c/large', BIG, 70 * MiB],
    ['a directory was renamed', 'mv c d', ':', 20 * MiB],
    ['a file was removed', 'rm c/200', ':', MiB],
    ['a file got a second name', 'ln c/5 a/five', ':', MiB],
  ])(
    'where %s reads little else, adds at most 4 MiB and equals the volume',
    async (_, change, more, mostRead) => {
      const at = await site();
      const volume = await at.volume('v', `${TREE}; ${more}`);
      await settle();
      await backup(at, volume);
      await at.inside(volume, change);
      const second = await backup(at, volume);
      expect(second.newBytes).toBeLessThanOrEqual(4 * MiB);
      expect(second.newBytes).toBeGreaterThan(0);
      expect(second.readBytes).toBeLessThan(mostRead);
      expect(second.digest).toBe(await digestOf(at, volume));
      await at.ok('restore', second.id, '--to-volume', at.name('r'), '--verify');
    },
  );

  it('through another container of the same volume takes over what the first one stored', async () => {
    const at = await site();
    const volume = await at.volume('v', TREE);
    await settle();
    const one = await at.container('one', '-v', `${volume}:/one`, 'busybox', 'true');
    const two = await at.container('two', '-v', `${volume}:/two`, 'busybox', 'true');
    await at.ok('backup', one);
    const { snapshots } = await at.ok('backup', two);
    expect(snapshots[0].volumes[0]).toMatchObject({ readBytes: 0, destination: '/two' });
  });

  it('finds content that another source has, by its SHA-256', async () => {
    const at = await site();
    const one = await at.volume('one', 'head -c 20000000 /dev/urandom >data');
    await backup(at, one);
    const two = await at.volume('two', `cp '${await mountpoint(at.host, one)}/data' other-name`);
    expect(await backup(at, two)).toMatchObject({ readBytes: expect.any(Number) });
    expect((await at.document('show', two)).volumes[0].newBytes).toBeLessThan(100_000);
  });

  it('--parent takes another snapshot than the newest', async () => {
    const at = await site();
    const volume = await at.volume('v', TREE);
    await settle();
    const first = await backup(at, volume);
    await at.inside(volume, 'rm -r c');
    await backup(at, volume);
    const third = await backup(at, volume, '--parent', first.id);
    expect((await at.document('show', third.id)).parents).toEqual([first.id]);
    expect(third.digest).toBe(await digestOf(at, volume));
  });

  it('reads all again where the parent cannot be read, says so, and is whole', async () => {
    const at = await site();
    const volume = await at.volume('v', TREE);
    await settle();
    await backup(at, volume);
    await bash(`rm -r '${at.repo}'/segments/*`);
    const second = await backup(at, volume);
    expect(second.readBytes).toBe(second.tarBytes);
    expect(second.warnings.join()).toContain('cannot be read, so all is read anew');
    await at.ok('restore', second.id, '--to-volume', at.name('r'), '--verify');
  });
});

describe('what a listing does not show', () => {
  it('a flipped bit in the index that an unchanged volume would take over: all is read anew', async () => {
    const at = await site();
    const volume = await at.volume('v', TREE);
    await settle();
    await backup(at, volume);
    // The index has a segment of its own, the smaller one.
    await bash(
      `f=$(ls -S '${at.repo}'/segments/*/* | tail -n 1); printf X | dd of="$f" bs=1 seek=$(($(stat -c %s "$f") - 20)) conv=notrunc status=none`,
    );
    const second = await backup(at, volume);
    expect(second.warnings.join()).toContain('cannot be read, so all is read anew');
    await at.ok('restore', second.id, '--to-volume', at.name('r'), '--verify');
  });

  it('a file written twice within a step of the clock: times that are too new are not trusted', async () => {
    const at = await site();
    const volume = await at.volume('v', 'echo old >file; touch -d 2001-01-01 file');
    const first = await backup(at, volume);
    const second = await backup(at, volume);
    // Nothing has changed, but nothing proves it yet; the second listing came late enough only for the third.
    expect(second.readBytes).toBe(first.readBytes);
    await settle();
    await backup(at, volume);
    expect((await backup(at, volume)).readBytes).toBe(0);
  });

  it('a write through mmap into a page that was written before: synced first, so it is seen', async () => {
    const at = await site();
    const volume = await at.volume('v', 'head -c 8192 /dev/zero >mapped');
    const file = `${await mountpoint(at.host, volume)}/mapped`;
    // Holds the page dirty from the first write on; the second one causes no fault, and so no new time of change.
    const writer = talkTo('python3', [
      '-c',
      `import mmap, sys
f = open(${JSON.stringify(file)}, 'r+b'); m = mmap.mmap(f.fileno(), 8192)
m[0:1] = b'A'; print('ready', flush=True)
for line in sys.stdin: m[0:1] = line[0:1].encode(); print('done', flush=True)`,
    ]);
    try {
      await writer.says('ready');
      await settle();
      await backup(at, volume);
      await settle();
      await backup(at, volume);
      writer.tell('B');
      await writer.says('done');
      const last = await backup(at, volume);
      await at.ok('restore', last.id, '--to-volume', at.name('r'));
      expect(await at.inside(at.name('r'), 'head -c 1 mapped')).toBe('B');
    } finally {
      await writer.end();
    }
  });

  it('a volume in memory is always read', async () => {
    const at = await site();
    const volume = at.name('mem');
    await at.docker('volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', volume);
    await at.docker(
      'run',
      '-d',
      '--network',
      'none',
      '--name',
      at.name('user'),
      '-v',
      `${volume}:/data`,
      'toolbox',
      'sh',
      '-c',
      'echo x >/data/x; exec sleep 600',
    );
    await settle();
    const first = await backup(at, volume);
    expect((await backup(at, volume)).readBytes).toBe(first.readBytes);
  });

  it('a file whose disk failed is named, stored as far as it could be read, and read again by the next backup', async () => {
    const at = await site();
    const disk = await failingDisk();
    const volume = at.name('disk');
    await at.docker('volume', 'create', '-o', 'type=ext4', '-o', `device=${disk.device}`, volume);
    await disk.fail();
    const broken = await backup(at, volume);
    expect(broken.exit).toBe(3);
    expect(broken.named).toEqual(['./large']);
    expect(broken.warnings.join()).toMatch(/Input.output error|File shrank/);
    await disk.mend();
    // Neither its size nor its times have changed; that it was named is why it is read again.
    const mended = await backup(at, volume);
    expect(mended).toMatchObject({ exit: 0, digest: disk.digest });
    expect(mended.readBytes).toBeGreaterThan(16 * MiB);
    expect((await backup(at, volume)).readBytes).toBe(0);
  });

  it('a file that moves while find is on its way is in the snapshot, or it is named and the exit code is 3', async () => {
    const at = await site();
    const volume = await at.volume(
      'v',
      'mkdir a z; for n in $(seq 60); do mkdir m$n; for k in $(seq 150); do : >m$n/$k; done; done; echo precious >a/wanderer',
    );
    const directory = await mountpoint(at.host, volume);
    const mover = talkTo('bash', [
      '-c',
      `cd '${directory}'; while :; do mv a/wanderer z/ && mv z/wanderer a/; done`,
    ]);
    let named = 0;
    try {
      // By chance: it goes on until the interesting case was seen.
      for (let n = 0; n < 40 && (n < 4 || named === 0); n++) {
        const result = await backup(at, volume);
        const held = (await at.document('ls', result.id)).filter((m: Json) =>
          String(m.path).endsWith('wanderer'),
        );
        if (result.exit === 0) expect(held.length).toBeGreaterThan(0);
        else {
          expect(result.exit).toBe(3);
          expect(result.named.join()).toContain('wanderer');
          named++;
        }
      }
    } finally {
      await mover.end();
    }
    expect(named).toBeGreaterThan(0);
  });

  it('a helper image that cannot list reads all, and says what it does not keep', async () => {
    const at = await site();
    const volume = await at.volume('v', `${TREE}; setfattr -n user.lost -v x c/1`);
    await settle();
    await backup(at, volume);
    const plain = await backup(at, volume, '--helper-image', 'busybox');
    expect(plain.readBytes).toBe(plain.tarBytes);
    expect(plain.warnings.join()).toContain('extended attributes');
    await at.ok('restore', plain.id, '--to-volume', at.name('r'));
    const [there, back] = [await mountpoint(at.host, volume), await mountpoint(at.host, at.name('r'))];
    await bash(`diff -r --no-dereference '${there}' '${back}'`);
    expect((await at.ok('verify')).errors).toEqual([]);
  });
});
