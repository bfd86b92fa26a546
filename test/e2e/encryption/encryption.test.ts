import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { mountpoint } from '../../support/engine.ts';
import { bash, failure, type Site, site, summary, warnings } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { hardTree, treeDifferences } from '../../support/trees.ts';
import { type Json, projectRoot, type VolbakResult, volbak } from '../../support/volbak.ts';

type Env = Record<string, string>;

interface Key {
  file: string;
  recipient: string;
  /** The environment of whoever has it. */
  env: Env;
}

async function keygen(): Promise<Key> {
  const file = `${await tempDir()}/key`;
  execFileSync('age-keygen', ['-o', file], { stdio: 'pipe' });
  const recipient = execFileSync('age-keygen', ['-y', file], { encoding: 'utf8' }).trim();
  return { file, recipient, env: { VOLBAK_IDENTITY_FILE: file } };
}

const NOBODY: Env = {};
const run = (at: Site, env: Env, ...args: string[]): Promise<VolbakResult> =>
  volbak([...at.globals, ...args], { env });

async function ok(at: Site, env: Env, ...args: string[]): Promise<Json> {
  const result = await run(at, env, ...args);
  expect(result.exit, `${args.join(' ')}\n${result.stdout}${result.stderr}`).toBe(0);
  return summary(result);
}

async function shown(at: Site, env: Env, ...args: string[]): Promise<Json> {
  const result = await run(at, env, ...args);
  expect(result.exit, `${args.join(' ')}\n${result.stdout}${result.stderr}`).toBe(0);
  return JSON.parse(result.stdout);
}

async function refused(at: Site, env: Env, ...args: string[]): Promise<Json> {
  const result = await run(at, env, ...args);
  expect(result.exit, `${args.join(' ')}\n${result.stdout}${result.stderr}`).toBe(12);
  const error = failure(result);
  expect(error.code).toBe('WRONG_KEY');
  expect(error.hint).toMatch(/\S/);
  return error;
}

const failureCode = ({ json }: VolbakResult) => json.findLast((line: Json) => line.event === 'error')?.code;

/** Another machine: its own state and cache. */
async function machine(env: Env = {}): Promise<Env> {
  const dir = await tempDir();
  return { ...env, XDG_STATE_HOME: `${dir}/state`, XDG_CACHE_HOME: `${dir}/cache` };
}

const objects = (repo: string) =>
  (readdirSync(repo, { recursive: true, withFileTypes: true }) as import('node:fs').Dirent[])
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(repo, path.join(entry.parentPath, entry.name)))
    .sort();

describe('an encrypted repository', () => {
  it('is backed up to without an identity, restored identical with one, and opened by age alone', async () => {
    const at = await site();
    const key = await keygen();
    const made = await ok(at, NOBODY, 'init', '--encrypt-to', key.recipient);
    expect(made).toMatchObject({ created: true, keys: ['recipient-1'] });
    const volume = await at.volume('hard');
    await hardTree(await mountpoint(at.host, volume));
    const reference = await tempDir();
    await hardTree(reference);
    const { snapshots } = await ok(at, NOBODY, 'backup', '--volume', volume);
    const [{ id, volumes }] = snapshots;

    const found = objects(at.repo).filter((file) => !/^(volbak\.json|keys\/)/.test(file));
    expect(found.length).toBeGreaterThan(1);
    expect(found.filter((file) => !file.endsWith('.age'))).toEqual([]);
    const repositoryKey = `${await tempDir()}/repository.key`;
    await bash(`age -d -i '${key.file}' keys/recipient-1.age >'${repositoryKey}'`, { cwd: at.repo });
    for (const file of found.filter((file) => file.startsWith('segments/'))) {
      const sum = await bash(`age -d -i '${repositoryKey}' '${file}' | sha256sum`, { cwd: at.repo });
      expect(sum.slice(0, 64)).toBe(path.basename(file, '.zst.age'));
    }

    const restored = at.name('restored');
    await ok(at, key.env, 'restore', id, '--to-volume', restored, '--verify');
    expect(await treeDifferences(reference, await mountpoint(at.host, restored))).toBe('');
    expect((await ok(at, key.env, 'verify')).errors).toEqual([]);
    // What is known is not stored again.
    const again = await ok(at, key.env, 'backup', '--volume', volume);
    expect(again.snapshots[0].volumes[0].newBytes).toBe(0);

    const recipe = path.join(projectRoot, 'recipes/restore-without-volbak.sh');
    const plain = `${await tempDir()}/plain`;
    await bash(`'${recipe}' --identity '${key.file}' '${at.repo}' '${id}' '${volume}' '${plain}'`);
    expect(await bash(`'${projectRoot}/recipes/digest.sh' '${plain}'`)).toBe(volumes[0].digest);
  });

  it('is backed up to incrementally by a host that cannot read it, from its own cache; a lost cache costs a second copy, said', async () => {
    const at = await site();
    const key = await keygen();
    const host = await machine();
    await ok(at, host, 'init', '--encrypt-to', key.recipient);
    const volume = await at.volume('data', 'for n in $(seq 50); do head -c 20000 /dev/urandom >$n; done');
    await bash('sleep 2.2');
    const first = await ok(at, host, 'backup', '--volume', volume);
    await at.inside(volume, 'echo more >more');
    const second = await ok(at, host, 'backup', '--volume', volume);
    const [{ readBytes, newBytes, digest }] = second.snapshots[0].volumes;
    expect(readBytes).toBeLessThan(100_000);
    expect(newBytes).toBeLessThan(100_000);

    const forgetful = { ...host, XDG_CACHE_HOME: `${await tempDir()}/cache` };
    const third = await run(at, forgetful, 'backup', '--volume', volume);
    expect(third.exit).toBe(0);
    expect(warnings(third).join()).toContain('no cached index');
    const [again] = summary(third).snapshots[0].volumes;
    expect(again.digest).toBe(digest);
    expect(again.newBytes).toBeGreaterThan(first.snapshots[0].volumes[0].newBytes);
    await ok(
      at,
      { ...host, ...key.env },
      'restore',
      second.snapshots[0].id,
      '--to-volume',
      at.name('r'),
      '--verify',
    );
  });

  it('is exit 12 at once to whoever lacks the identity or has a wrong one, before the engine is asked', async () => {
    const at = await site();
    const key = await keygen();
    const wrong = await keygen();
    await ok(at, NOBODY, 'init', '--encrypt-to', key.recipient);
    const volume = await at.volume('data', 'echo secret >file');
    await ok(at, NOBODY, 'backup', '--volume', volume);
    const elsewhere = `${await tempDir()}/copy`;
    const commands = [
      ['restore', 'latest', '--to-volume', at.name('r')],
      ['snapshots'],
      ['show', 'latest'],
      ['ls', 'latest'],
      ['verify'],
      ['export', 'latest', '-o', `${elsewhere}.tar`],
      ['copy', '--all', '--to', elsewhere],
      ['diff', 'latest', 'latest'],
      ['key', 'add', '--encrypt-to', wrong.recipient],
    ];
    const noEngine = { ...at, globals: ['-H', 'unix:///nonexistent.sock', '--repo', at.repo, '--json'] };
    for (const command of commands) {
      await refused(noEngine, NOBODY, ...command);
      await refused(noEngine, wrong.env, ...command);
    }
    await refused(at, wrong.env, 'backup', '--volume', volume);
    await refused(at, { VOLBAK_IDENTITY_FILE: '/nonexistent' }, 'snapshots');
    expect(objects(at.repo).filter((file) => file.startsWith('snapshots/'))).toHaveLength(1);
    expect(await shown(at, key.env, 'snapshots')).toHaveLength(1);
  });

  it('opens with a passphrase; keys are added, listed and removed, but not the last one', async () => {
    const at = await site();
    const key = await keygen();
    const phrase = `${await tempDir()}/phrase`;
    writeFileSync(phrase, 'correct horse battery staple\n');
    expect((await run(at, NOBODY, 'init', '--passphrase')).exit).toBe(2);
    const owner = { VOLBAK_PASSPHRASE_FILE: phrase };
    const made = await run(at, owner, 'init', '--passphrase');
    expect(made.exit).toBe(0);
    expect(made.stdout + made.stderr).not.toContain('horse');
    const volume = await at.volume('data', 'echo secret >file');
    await ok(at, NOBODY, 'backup', '--volume', volume);
    expect(await shown(at, owner, 'snapshots')).toHaveLength(1);
    await refused(at, { VOLBAK_PASSPHRASE: 'wrong' }, 'snapshots');
    await refused(at, key.env, 'snapshots');

    expect((await run(at, owner, 'key', 'remove', 'passphrase-1')).exit).toBe(2);
    const added = await shown(at, owner, 'key', 'add', '--encrypt-to', key.recipient, '--name', 'laptop');
    expect(added).toEqual({ added: ['laptop'] });
    expect(await shown(at, key.env, 'snapshots')).toHaveLength(1);
    const { keys } = await shown(at, NOBODY, 'key', 'list');
    expect(keys).toMatchObject([
      { name: 'laptop', kind: 'recipient' },
      { name: 'passphrase-1', kind: 'passphrase' },
    ]);
    const removed = await run(at, NOBODY, 'key', 'remove', 'passphrase-1');
    expect(removed.exit).toBe(0);
    expect(removed.stdout + removed.stderr).toMatch(/may have kept/);
    await refused(at, owner, 'snapshots');
    expect((await run(at, NOBODY, 'key', 'remove', 'laptop')).exit).toBe(2);
    const renewed = { ...key.env, VOLBAK_NEW_PASSPHRASE: 'another' };
    expect(await shown(at, renewed, 'key', 'add', '--passphrase')).toEqual({ added: ['passphrase-1'] });
    expect(await shown(at, { VOLBAK_PASSPHRASE: 'another' }, 'snapshots')).toHaveLength(1);
  });

  it('hides names, where asked, from the store, and not from the host that has the key for them', async () => {
    const at = await site();
    const key = await keygen();
    expect((await run(at, NOBODY, 'init', '--opaque-names')).exit).toBe(2);
    const admin = await machine(key.env);
    await ok(at, admin, 'init', '--encrypt-to', key.recipient, '--opaque-names');
    const volume = await at.volume('data', 'echo secret >file');
    const host = await machine();
    await refused(at, host, 'backup', '--volume', volume);
    const { namesKey } = await shown(at, admin, 'key', 'names');
    await ok(at, { ...host, VOLBAK_NAMES_KEY: namesKey }, 'backup', '--volume', volume);
    await ok(at, host, 'backup', '--volume', volume);
    expect(objects(at.repo).join(' ')).not.toMatch(new RegExp(`${volume}|host-a|volume/`));
    const list = await shown(at, admin, '--trust', 'snapshots');
    expect(list.map(({ source }: Json) => source)).toEqual(Array(2).fill(`host-a/volume/${volume}`));
    await ok(at, admin, 'restore', volume, '--to-volume', at.name('back'), '--verify');
    const recipe = path.join(projectRoot, 'recipes/restore-without-volbak.sh');
    const plain = `${await tempDir()}/plain`;
    await bash(`'${recipe}' --identity '${key.file}' '${at.repo}' '${list[0].id}' '${volume}' '${plain}'`);
    expect(readFileSync(`${plain}/file`, 'utf8')).toBe('secret\n');
  });

  it('is not made where there is one already, or of what is no recipient', async () => {
    const at = await site();
    const key = await keygen();
    expect((await run(at, NOBODY, 'init', '--encrypt-to', 'age1nonsense')).exit).toBe(2);
    await ok(at, NOBODY, 'init');
    expect((await run(at, NOBODY, 'init', '--encrypt-to', key.recipient)).exit).toBe(10);
    expect((await run(at, NOBODY, 'key', 'list')).exit).toBe(10);
  });

  it('prints a recovery kit that holds for plain age, and no secret', async () => {
    const at = await site();
    const key = await keygen();
    const args = ['--repo', at.repo, 'init', '--encrypt-to', key.recipient];
    const { stdout, stderr } = await volbak(args);
    expect(stdout).toMatch(/RECOVERY KIT/);
    expect(stdout + stderr).not.toMatch(/AGE-SECRET-KEY/);
    const volume = await at.volume('data', 'echo secret >file');
    await ok(at, NOBODY, 'backup', '--volume', volume);
    const commands = stdout.split('\n').filter((line) => /^ {2}age -d/.test(line));
    expect(commands).toHaveLength(2);
    const script = commands
      .join('\n')
      .replace('<your identity file>', key.file)
      .replace('<any object>.age', '"$(find segments -name "*.age" | head -n 1)" | head -c 15 | tail -c 7');
    const dir = await tempDir();
    await bash(`cp -r '${at.repo}/.' . ; ${script} >out; cat out`, { cwd: dir });
    expect(readFileSync(`${dir}/out`, 'latin1')).toBe('volbak1');
  });
});

describe('what was seen first', () => {
  it('stays: a repository that was replaced, or is encrypted no more, is exit 12 until it is taken knowingly', async () => {
    const at = await site();
    const key = await keygen();
    await ok(at, NOBODY, 'init', '--encrypt-to', key.recipient);
    const volume = await at.volume('data', 'echo secret >file');
    await ok(at, NOBODY, 'backup', '--volume', volume);
    // A store that hopes for plain text: first nothing, then a repository that is not encrypted.
    rmSync(at.repo, { recursive: true });
    await refused(at, NOBODY, 'backup', '--volume', volume);
    await refused(at, NOBODY, 'init');
    await ok(at, await machine(), 'init');
    const { hint } = await refused(at, NOBODY, 'backup', '--volume', volume);
    expect(objects(at.repo)).toEqual(['volbak.json']);
    rmSync(/remove (\S+) and/.exec(hint)?.[1] as string);
    await ok(at, NOBODY, 'backup', '--volume', volume);
  });

  it('includes writers: a snapshot of an unknown one needs --trust', async () => {
    const at = await site();
    const key = await keygen();
    const admin = await machine(key.env);
    const [a, b] = [await machine(), await machine()];
    await ok(at, admin, 'init', '--encrypt-to', key.recipient);
    const volume = await at.volume('data', 'echo 1 >file');
    const first = (await ok(at, a, 'backup', '--volume', volume)).snapshots[0].id;
    await refused(at, admin, 'show', first);
    const { writer } = await shown(at, a, 'key', 'list');
    expect((await refused(at, admin, 'show', first)).message).toContain(writer);
    expect((await shown(at, admin, '--trust', 'show', first)).signature.key).toBe(writer);
    await shown(at, admin, 'show', first);
    expect((await shown(at, admin, 'key', 'list')).knownWriters).toEqual([writer]);
    const second = (await ok(at, b, 'backup', '--volume', volume)).snapshots[0].id;
    await refused(at, admin, 'restore', second, '--to-volume', at.name('r'));
    await refused(at, admin, 'verify');
    // A list goes on, and says what it leaves out.
    const list = await run(at, admin, 'snapshots');
    expect(JSON.parse(list.stdout).map(({ id }: Json) => id)).toEqual([first]);
    expect(list.stderr).toContain(second);
  });

  it('goes with copies: signatures of the writer hold in another repository, encrypted or not', async () => {
    const at = await site();
    const key = await keygen();
    const other = await keygen();
    await ok(at, NOBODY, 'init', '--encrypt-to', key.recipient);
    const volume = await at.volume('data', 'head -c 3000000 /dev/urandom >random');
    const { id } = (await ok(at, NOBODY, 'backup', '--volume', volume)).snapshots[0];
    const { signature } = await shown(at, key.env, 'show', id);
    const to = `${await tempDir()}/copy`;
    const target = { ...at, repo: to, globals: ['-H', at.host, '--repo', to, '--json'] };
    await ok(target, NOBODY, 'init', '--encrypt-to', other.recipient);
    const copier = await machine(key.env);
    const copied = await run(at, copier, 'copy', '--all', '--to', to);
    expect(copied.exit, copied.stdout).toBe(0);
    expect(warnings(copied)).toEqual([]);
    expect((await shown(target, other.env, 'show', id)).signature).toEqual(signature);
    expect((await ok(target, other.env, 'verify')).errors).toEqual([]);
    // Damage in one is made good from the other, which is opened by the same environment.
    const both = `${await tempDir()}/both`;
    writeFileSync(both, readFileSync(key.file, 'utf8') + readFileSync(other.file, 'utf8'));
    const [large] = objects(at.repo).filter((file) => file.startsWith('segments/'));
    rmSync(path.join(at.repo, large as string));
    const repaired = await run(at, { VOLBAK_IDENTITY_FILE: both }, 'verify', '--repair', to);
    expect(failureCode(repaired), repaired.stdout).not.toBe('WRONG_KEY');
    expect((await ok(at, key.env, 'verify')).errors).toEqual([]);
    expect((await shown(at, key.env, 'show', id)).signature).toEqual(signature);
    const plain = `${await tempDir()}/plain`;
    await ok(at, copier, 'copy', '--all', '--to', plain);
    const open = { ...at, repo: plain, globals: ['-H', at.host, '--repo', plain, '--json'] };
    expect((await shown(open, NOBODY, 'show', id)).signature).toEqual(signature);
    await ok(open, NOBODY, 'restore', id, '--to-volume', at.name('back'), '--verify');
  });
});
