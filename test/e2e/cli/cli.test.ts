import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { cleanEnv, docker, engines, inVolume } from '../../support/engine.ts';
import { makeDatabase, makeScene, type Scene } from '../../support/scene.ts';
import { tempDir } from '../../support/temp.ts';
import { type Json, launcher, privateHomes, volbak, volbakOk } from '../../support/volbak.ts';

let scene: Scene;
let data: string;
let conf: string;
let container: string;
let [first, second] = ['', ''];

beforeAll(async () => {
  scene = await makeScene(engines().a);
  const scripts = {
    data: `mkdir sub; echo hello >sub/file; echo gone >gone; ln sub/file hard; ln -s sub/file soft; mknod null c 1 3; chmod 4755 gone
     printf x >"$(printf 'red\\033[31m\\nline\\302\\233')"; printf x >"$(printf 'latin-\\351')"`,
    conf: 'echo a=b >app.conf',
  };
  ({ data, conf, container } = await makeDatabase(scene, scripts, '-v', '/tmp:/bound'));
  first = await backup();
  await inVolume(scene.host, data, 'echo more >>sub/file; rm gone; echo new >new');
  second = await backup('--tag', 'why=test');
});

async function backup(...options: string[]): Promise<string> {
  const { json } = await volbakOk([...scene.options, '--json', 'backup', container, ...options]);
  return json.at(-1).snapshots[0].id;
}

const run = (...args: string[]) => volbak([...scene.options, ...args]);

/** The one JSON document that a command shows; nothing else may be on standard output. */
async function shown(...args: string[]): Promise<Json> {
  const { stdout } = await volbakOk([...scene.options, '--json', ...args]);
  return JSON.parse(stdout);
}

/** Every line must be JSON with an event; answers with the last. */
async function did(...args: string[]): Promise<Json> {
  const { stdout, exit } = await run('--json', ...args);
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  for (const line of lines) expect(line).toHaveProperty('event');
  expect(lines.filter((line) => ['summary', 'error'].includes(line.event))).toHaveLength(1);
  expect(lines.at(-1).exit).toBe(exit);
  return lines.at(-1);
}

describe('--json of commands that do something ends with a summary', () => {
  test('backup', async () => {
    const summary = await did('backup', container);
    expect(summary).toMatchObject({ event: 'summary', command: 'backup', exit: 0 });
    expect(summary.snapshots).toHaveLength(1);
    expect(summary.snapshots[0]).toMatchObject({
      id: expect.stringMatching(/^\d{8}T\d{6}Z-[0-9a-f]{6}$/),
      source: `host-a/container/${container}`,
      status: 'complete',
      durationMs: expect.any(Number),
    });
    for (const volume of summary.snapshots[0].volumes)
      expect(volume).toEqual({
        name: expect.any(String),
        destination: expect.stringMatching(/^\/(dbdata|etc\/conf)$/),
        entries: expect.any(Number),
        tarBytes: expect.any(Number),
        readBytes: expect.any(Number),
        newBytes: 0,
        storedBytes: 0,
        digest: expect.stringMatching(/^[0-9a-f]{64}$/),
      });
  });

  test('restore, with --verify a digest', async () => {
    const summary = await did(
      'restore',
      second,
      '--rename',
      `${data}=${data}-r`,
      '--rename',
      `${conf}=${conf}-r`,
      '--verify',
    );
    expect(summary).toMatchObject({ event: 'summary', command: 'restore', exit: 0 });
    expect(summary.volumes.map((v: Json) => v.name).sort()).toEqual([`${conf}-r`, `${data}-r`]);
    for (const v of summary.volumes)
      expect(v).toMatchObject({
        entries: expect.any(Number),
        bytes: expect.any(Number),
        digest: expect.stringMatching(/^[0-9a-f]{64}$/),
      });
  });

  test('verify, export, import, init and dry runs', async () => {
    expect(await did('verify')).toMatchObject({
      event: 'summary',
      command: 'verify',
      segments: expect.any(Number),
      frames: expect.any(Number),
      bytes: expect.any(Number),
      errors: [],
    });
    const file = path.join(await tempDir(), 'x.tar');
    expect(await did('export', second, '-o', file)).toMatchObject({
      event: 'summary',
      command: 'export',
      exit: 0,
      file,
    });
    expect(await did('import', file, '--to-volume', scene.name('imported'))).toMatchObject({
      event: 'summary',
      command: 'import',
      exit: 0,
    });
    expect(await did('init')).toMatchObject({ event: 'summary', command: 'init', created: false });
    expect(await did('backup', container, '--dry-run')).toMatchObject({
      event: 'summary',
      command: 'backup',
      dryRun: true,
    });
    expect(
      await did('restore', second, '--to-volume', scene.name('dry'), '--volume', data, '--dry-run'),
    ).toMatchObject({ dryRun: true });
  });
});

describe('--json of commands that show something is one document', () => {
  test('snapshots', async () => {
    const list = await shown('snapshots', container);
    const [a, b] = list;
    expect(a.id).toBe(first);
    expect(b).toMatchObject({
      id: second,
      source: `host-a/container/${container}`,
      status: 'complete',
      parent: first,
      tags: { why: 'test' },
    });
    expect(Date.parse(b.finished)).toBeGreaterThanOrEqual(Date.parse(b.started));
    expect(b.volumes.map((v: Json) => v.name)).toEqual([data, conf]);
  });

  test('show, ls, diff', async () => {
    expect(await shown('show', second)).toMatchObject({
      id: second,
      status: 'complete',
      leftOut: [{ type: 'bind', destination: '/bound' }],
    });
    const members = await shown('ls', second, '--volume', data);
    expect(members).toContainEqual(
      expect.objectContaining({ volume: data, path: './hard', type: 'file', size: 11 }),
    );
    expect(members.map((m: Json) => m.path ?? Buffer.from(m.path64, 'base64').toString('latin1'))).toContain(
      './latin-\xe9',
    );
    expect(await shown('diff', first, second)).toEqual(
      expect.arrayContaining([
        { volume: data, kind: 'removed', path: './gone', fields: [] },
        { volume: data, kind: 'added', path: './new', fields: [] },
        { volume: data, kind: 'changed', path: './hard', fields: expect.arrayContaining(['content']) },
      ]),
    );
    expect(await shown('diff', second, second)).toEqual([]);
  });

  test('doctor, helper, completion', async () => {
    const checks = await shown('doctor');
    expect(checks.map((c: Json) => c.name)).toEqual(
      expect.arrayContaining(['engine', 'clock', 'helper image', 'leftovers', 'repository']),
    );
    for (const check of checks) expect(check, check.detail).toMatchObject({ state: 'ok' });
    expect(await shown('helper')).toMatchObject({
      image: expect.any(String),
      tar: expect.stringContaining('GNU tar'),
      missing: [],
    });
    expect(await shown('completion', 'bash')).toMatchObject({ shell: 'bash' });
  });
});

describe('exit codes, each with a message and JSON that says the same', () => {
  const cases: [number, string, () => string[]][] = [
    [2, 'USAGE', () => ['nosuch']],
    [2, 'USAGE', () => ['backup']],
    [2, 'USAGE', () => ['backup', container, '--nosuch']],
    [2, 'USAGE', () => ['backup', container, '--stop', '--pause']],
    [2, 'USAGE', () => ['backup', container, '--tag', 'x']],
    [2, 'USAGE', () => ['restore']],
    [2, 'USAGE', () => ['restore', second, '--on-conflict', 'maybe']],
    [2, 'USAGE', () => ['restore', second, '--strip-components', '-1']],
    [2, 'USAGE', () => ['import', 'x']],
    [2, 'USAGE', () => ['import', '/no/such/file', '--to-volume', 'x']],
    [2, 'USAGE', () => ['export']],
    [2, 'USAGE', () => ['verify', '--sample', '3/2']],
    [2, 'USAGE', () => ['completion', 'tcsh']],
    [2, 'USAGE', () => ['helper', 'nosuch']],
    [2, 'USAGE', () => ['--repo', 'ftp://x/y', 'snapshots']],
    [10, 'REPOSITORY_MISSING', () => ['--repo', '/no/such/repository', 'snapshots']],
    [10, 'SNAPSHOT_NOT_FOUND', () => ['show', 'nosuch']],
    [10, 'SNAPSHOT_NOT_FOUND', () => ['restore', `${container}@nosuch`]],
    [10, 'SNAPSHOT_NOT_FOUND', () => ['ls', second, '/no/such/path']],
    [20, 'ENGINE_UNREACHABLE', () => ['-H', 'tcp://127.0.0.1:1', 'backup', container]],
    [20, 'ENGINE_UNREACHABLE', () => ['-H', 'unix:///no/such/socket', 'restore', second]],
    [21, 'NOT_FOUND_IN_ENGINE', () => ['backup', 'no-such-container']],
    [21, 'NOT_FOUND_IN_ENGINE', () => ['backup', '--volume', 'no-such-volume']],
    [21, 'NOT_FOUND_IN_ENGINE', () => ['backup', container, '--only', 'nosuch']],
    [21, 'NOT_FOUND_IN_ENGINE', () => ['restore', second, '--into', 'no-such-container']],
    [24, 'TARGET_NOT_EMPTY', () => ['restore', second]],
    [40, 'INTEGRITY', () => ['import', '/etc/passwd', '--to-volume', scene.name('never')]],
  ];
  test.each(cases)('%i %s: case %#', async (exit, code, args) => {
    const text = await run(...args());
    expect(text.exit, text.stderr).toBe(exit);
    expect(text.stdout).toBe('');
    const lines = text.stderr.trimEnd().split('\n');
    expect(lines.filter((line) => line.startsWith('error: '))).toHaveLength(1);
    if (exit === 20) {
      expect(lines).toHaveLength(2);
      expect(lines[1]).toMatch(/^hint: /);
    }
    const { json, stdout } = await run('--json', ...args());
    expect(json.at(-1), stdout).toMatchObject({ event: 'error', code, exit, message: expect.any(String) });
    if (exit !== 2) expect(text.stderr).toContain(json.at(-1).message);
  });
});

describe('what goes where', () => {
  test('results on standard output, what happens on standard error', async () => {
    const { stdout, stderr } = await run('backup', container);
    expect(stdout).toMatch(/^snapshot \S+ of \S+: 2 volumes, .*\n$/);
    expect(stderr).toContain('left out: bind at /bound');
    expect(stderr).toContain(`  ${data}: unchanged`);
  });

  test('--quiet leaves only the result', async () => {
    const { stdout, stderr } = await run('-q', 'backup', container);
    expect(stdout).toMatch(/^snapshot /);
    expect(stderr).toBe('');
  });

  test('hostile names are never printed raw', async () => {
    for (const args of [
      ['ls', second],
      ['diff', first, second],
      ['show', second],
      ['snapshots'],
      ['--json', 'ls', second],
    ]) {
      const { stdoutBytes, stderr } = await run(...args);
      const text = stdoutBytes.toString('latin1') + stderr;
      expect(text, args[0]).not.toContain('\x1b');
      expect(text, args[0]).not.toContain('\xc2\x9b');
      expect(text, args[0]).not.toContain('\xe9');
    }
    expect((await run('ls', second)).stdout).toContain('./latin-\\xe9');
    const bad = await run('ls', second, '/red\x1b[31m');
    expect(bad.stderr).not.toContain('\x1b');
    expect((await run('show', 'red\x1b[31m')).stderr).not.toContain('\x1b');
    expect((await run('\x1b[31m')).stderr).not.toContain('\x1b');
  });

  test('`ls <path>` lists only that path, without headings of volumes that lack it', async () => {
    const { stdout } = await run('ls', second, '/sub');
    expect(stdout).not.toContain(conf);
    expect(stdout.split('\n').filter((line) => line.includes('./'))).toHaveLength(2);
  });
});

describe('on a terminal', () => {
  /** With a terminal for standard output and error, as script(1) makes one. */
  const terminal = async (env: Record<string, string>, ...args: string[]) => {
    const all = { ...cleanEnv(), ...(await privateHomes()), TERM: 'xterm', ...env };
    const line = [launcher, ...scene.options, ...args].join(' ');
    const { stdout } = await promisify(execFile)('script', ['-qec', line, '/dev/null'], {
      env: all,
      timeout: 60_000,
    }).catch((error: { stdout: string }) => error);
    return stdout;
  };

  test('a progress bar shows rate and time left, and leaves nothing behind', async () => {
    const volume = scene.name('bar');
    await docker(scene.host, 'volume', 'create', volume);
    await inVolume(scene.host, volume, 'head -c 150M /dev/urandom >data');
    const shown = await terminal({}, 'backup', '--volume', volume);
    expect(shown).toMatch(/\[[=-]+\] \d+% .* of 157 MB {2}\S+ \S+\/s, .* left/);
    expect(shown).toContain('snapshot ');
    expect(await terminal({}, '--no-progress', 'backup', '--volume', volume, '--full')).not.toContain('% ');
  });

  test('colours, unless NO_COLOR or --no-color', async () => {
    expect(await terminal({}, 'show', 'nosuch')).toContain('\x1b[31merror:');
    expect(await terminal({ NO_COLOR: '1' }, 'show', 'nosuch')).not.toContain('\x1b[31m');
    expect(await terminal({}, '--no-color', 'show', 'nosuch')).not.toContain('\x1b[31m');
    expect((await run('show', 'nosuch')).stderr).not.toContain('\x1b');
  });
});

describe('help', () => {
  test('--version answers in under 0.3 s', async () => {
    const times: number[] = [];
    for (let n = 0; n < 5; n++) {
      const begun = performance.now();
      const { stdout } = await volbakOk(['--version']);
      times.push(performance.now() - begun);
      expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    }
    const best = Math.min(...times);
    console.info(`volbak --version: ${best.toFixed(0)} ms (best of 5)`);
    expect(best).toBeLessThan(300);
  });

  test('each command explains itself, without what only programmers read', async () => {
    const { stdout } = await volbakOk(['--help']);
    const commands = [...stdout.matchAll(/^ {2}([a-z]+)/gm)]
      .map(([, name]) => name ?? '')
      .filter((name) => name !== 'help');
    for (const name of [
      'init',
      'backup',
      'snapshots',
      'show',
      'ls',
      'diff',
      'restore',
      'export',
      'import',
      'verify',
      'forget',
      'prune',
      'drill',
      'handle',
      'migrate',
      'recipes',
      'helper',
      'doctor',
      'completion',
    ])
      expect(commands).toContain(name);
    for (const command of commands) {
      const help = await volbakOk(['help', command]);
      expect(help.stdout).toMatch(new RegExp(`^Usage: volbak ${command}`));
      expect(help.stdout).not.toContain('[]');
      for (const line of help.stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    }
  });
});

describe('completion', () => {
  test('bash loads it, and it offers commands, options and files', async () => {
    const { stdout } = await volbakOk(['completion', 'bash']);
    const dir = await tempDir();
    await writeFile(path.join(dir, 'volbak.bash'), stdout);
    await mkdir(path.join(dir, 'a-directory'));
    const offered = async (...words: string[]) => {
      const script = `set -eu; cd ${dir}; source ./volbak.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); set +e; _volbak; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return (await promisify(execFile)('bash', ['-c', script, 'bash', ...words])).stdout.trim().split('\n');
    };
    expect(await offered('volbak', '')).toEqual(expect.arrayContaining(['backup', 'restore', 'doctor']));
    expect(await offered('volbak', 'b')).toEqual(['backup']);
    expect(await offered('volbak', 'restore', '--on')).toEqual(['--on-conflict']);
    expect(await offered('volbak', 'backup', '--js')).toEqual(['--json']);
    expect(await offered('volbak', 'import', 'a-')).toEqual(['a-directory']);
  });

  test.each(['zsh', 'fish'])('the script for %s names all commands', async (shell) => {
    const { stdout } = await volbakOk(['completion', shell]);
    for (const name of ['backup', 'restore', 'export', 'on-conflict']) expect(stdout).toContain(name);
    const file = path.join(await tempDir(), 'script');
    await writeFile(file, stdout);
    // Where the shell is there, it reads it.
    const there = await promisify(execFile)('sh', ['-c', `command -v ${shell}`]).catch(() => undefined);
    if (there) await promisify(execFile)(shell, ['-n', file]);
  });
});

test('helper build makes an image of this machine’s tools, and helper show describes it', async () => {
  const built = await shown('helper', 'build');
  expect(built.image).toMatch(/^volbak-helper:/);
  const { stdout } = await run('--helper-image', built.image, 'helper');
  expect(stdout).toContain(`image     ${built.image}`);
  expect(stdout).toContain('GNU tar');
});

test('doctor without an engine, or without a repository, still tells the rest and exits with the first failure', async () => {
  const { stdout, exit } = await volbak(['-H', 'tcp://127.0.0.1:1', '--repo', scene.repository, 'doctor']);
  expect(stdout).toMatch(/^FAILED {3}engine/m);
  expect(stdout).toMatch(/^ok {7}repository/m);
  expect(exit).toBe(20);
  const place = path.join(await tempDir(), 'new');
  const missing = await volbak(['-H', scene.host, '--repo', place, 'doctor']);
  expect(missing.stdout).toMatch(/^ok {7}engine/m);
  expect(missing.stdout).toMatch(/^WARNING {2}repository/m);
  expect(missing.exit).toBe(0);
});
