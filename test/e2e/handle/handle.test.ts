import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { derivedImage } from '../../support/databases.ts';
import { dockerTry } from '../../support/engine.ts';
import { eventually } from '../../support/scene.ts';
import { bash, failure, helperAtWork, helpers, type Site, site, summary } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { finished, type Json, volbak } from '../../support/volbak.ts';

const lines = (json: Json[], stream: string) =>
  json.filter((e) => e.event === 'log' && e.stream === stream).map((e) => e.text);

/** A running container with a volume at /data that holds a file. */
async function service(at: Site, ...args: string[]): Promise<string> {
  const volume = await at.volume('v', 'echo hello >file');
  const name = at.name('app');
  const command = args.length > 0 ? args : ['sleep', '600'];
  await at.docker(
    'run',
    '-d',
    '--network',
    'none',
    '--stop-signal',
    'KILL',
    '--name',
    name,
    '-v',
    `${volume}:/data`,
    'busybox',
    ...command,
  );
  return name;
}

const anonymousVolumes = async (at: Site) =>
  (await at.docker('volume', 'ls', '-q'))
    .split('\n')
    .filter((name) => /^[0-9a-f]{64}$/.test(name))
    .sort();

describe('volbak handle', () => {
  it("runs any image on the container's volumes; log and result come back, nothing stays", async () => {
    const at = await site();
    const app = await service(at);
    const image = await derivedImage(at, 'busybox', {}, ['VOLUME /data', 'VOLUME /own']);
    const before = await anonymousVolumes(at);
    const result = await at.run(
      'handle',
      app,
      '--',
      image,
      'sh',
      '-c',
      'cat /data/file; echo "$0 $@" >&2',
      'a',
      '-b',
    );
    expect(result.exit).toBe(0);
    expect(lines(result.json, 'stdout')).toEqual(['hello']);
    expect(lines(result.json, 'stderr')).toEqual(['a -b']);
    expect(summary(result)).toMatchObject({ command: 'handle', exit: 0, handlerExit: 0 });
    expect(await helpers(at.host)).toBe('');
    // What the image's own VOLUME made is gone, what the container has is not.
    expect(await anonymousVolumes(at)).toEqual(before);
    expect(await at.inside(at.name('v'), 'cat file')).toBe('hello');
  });

  it('prints what the handler prints, as results and as its log', async () => {
    const at = await site();
    const app = await service(at);
    const globals = at.globals.filter((word) => word !== '--json');
    const script = 'echo out; printf "\\033[31mred" >&2';
    const result = await volbak([...globals, 'handle', app, '--', 'busybox', 'sh', '-c', script]);
    expect(result.stdout).toBe('out\n');
    expect(result.stderr).toBe('\\u001b[31mred\n');
  });

  it('of a handler that fails is exit 50, with its own code and last words', async () => {
    const at = await site();
    const app = await service(at);
    const result = await at.run('handle', app, '--', 'busybox', 'sh', '-c', 'echo no such table >&2; exit 7');
    expect(result.exit).toBe(50);
    expect(summary(result)).toMatchObject({ command: 'handle', exit: 50, handlerExit: 7 });
    expect(failure(result)).toMatchObject({
      code: 'HANDLER_FAILED',
      message: 'the handler ended with exit code 7: no such table',
    });
    expect(await helpers(at.host)).toBe('');
  });

  it('mounts read-only, also for root, unless --rw is given', async () => {
    const at = await site();
    const app = await service(at);
    const write = ['--', 'busybox', 'sh', '-c', 'echo new >/data/new'];
    const refused = await at.run('handle', app, ...write);
    expect(refused.exit).toBe(50);
    expect(failure(refused).message).toContain('Read-only file system');
    expect(await at.inside(at.name('v'), 'ls')).toBe('file');
    await at.ok('handle', app, '--rw', ...write);
    expect(await at.inside(at.name('v'), 'cat new')).toBe('new');
  });

  it('has no network, unless it shares that of the container with --network', async () => {
    const at = await site();
    const app = await service(
      at,
      'sh',
      '-c',
      'mkdir /w; echo served >/w/index.html; httpd -f -p 127.0.0.1:8080 -h /w',
    );
    // busybox's static wget cannot look up names, not even numbers.
    const request = 'printf "GET / HTTP/1.0\\r\\n\\r\\n" | nc -w 5 127.0.0.1 8080 | tail -n 1 | grep served';
    const get = ['--', 'busybox', 'sh', '-c', request];
    expect((await at.run('handle', app, ...get)).exit).toBe(50);
    const shared = await at.run('handle', app, '--network', ...get);
    expect(lines(shared.json, 'stdout')).toEqual(['served']);
    await at.docker('kill', app);
    const stopped = await at.run('handle', app, '--network', ...get);
    expect(failure(stopped)).toMatchObject({
      code: 'HANDLER_FAILED',
      message: expect.stringContaining('does not run'),
    });
    // Its volumes can be had all the same.
    await at.ok('handle', app, '--', 'busybox', 'cat', '/data/file');
  });

  it('gives environment and secrets; a secret is in no argument, label or variable, nor printed', async () => {
    const at = await site();
    const app = await service(at);
    const dir = await tempDir();
    await writeFile(path.join(dir, 'env'), '# comment\nFROM_FILE=1 = 2\n\nTWICE=file\nPASSED_ON\n');
    await writeFile(path.join(dir, 'key'), 'hunter2\n');
    const script =
      'sha256sum </run/secrets/key; echo "$FROM_FILE|$TWICE|$PASSED_ON|$VOLBAK_VOLUMES"; until [ -e /data/go ]; do sleep 0.1; done';
    const options = [
      '--env-file',
      path.join(dir, 'env'),
      '--env',
      'TWICE=option',
      '--secret',
      `key=${path.join(dir, 'key')}`,
    ];
    const env = { ...at.env, PASSED_ON: 'on' };
    const globals = at.globals;
    const running = volbak(
      [
        ...globals,
        'handle',
        app,
        ...options,
        '--user',
        '65534',
        '--memory',
        '64m',
        '--',
        'busybox',
        'sh',
        '-c',
        script,
      ],
      { env },
    );
    const id = await helperAtWork(at.host, 'handler');
    const inspected = await at.docker('inspect', id);
    await at.inside(at.name('v'), 'touch go');
    const result = await running;
    expect(result.exit).toBe(0);
    expect(lines(result.json, 'stdout')).toEqual([
      `${await bash('echo hunter2 | sha256sum')}`,
      '1 = 2|option|on|/data',
    ]);
    expect(inspected).not.toContain('hunter2');
    expect(JSON.parse(inspected)[0]).toMatchObject({
      Config: { User: '65534' },
      HostConfig: { Memory: 67_108_864, LogConfig: { Type: 'none' } },
    });
    expect(result.stdout + result.stderr).not.toContain('hunter2');
  });

  it('refuses to write a secret into a volume that is mounted at its place', async () => {
    const at = await site();
    const volume = await at.volume('v');
    const app = await at.container('app', '-v', `${volume}:/run`, 'busybox', 'true');
    const key = path.join(await tempDir(), 'key');
    await writeFile(key, 'hunter2');
    const result = await at.run('handle', app, '--rw', '--secret', `key=${key}`, '--', 'busybox', 'true');
    expect(failure(result)).toMatchObject({ code: 'USAGE', message: expect.stringContaining('/run') });
    expect(await at.inside(volume, 'ls -A')).toBe('');
    expect(await helpers(at.host)).toBe('');
  });

  it('ends what takes longer than --timeout', async () => {
    const at = await site();
    const app = await service(at);
    const result = await at.run(
      'handle',
      app,
      '--timeout',
      '1s',
      '--capture',
      'out.txt',
      '--',
      'busybox',
      'sh',
      '-c',
      'yes',
    );
    expect(result.exit).toBe(50);
    expect(failure(result).message).toBe('the handler did not end within 1 s and was killed');
    expect(await helpers(at.host)).toBe('');
    expect(await at.document('snapshots')).toEqual([]);
  });

  it('of an image that is nowhere, a program that the image lacks, or a container that is not there is one clear sentence', async () => {
    const at = await site();
    const app = await service(at);
    const image = await at.run('handle', app, '--', 'localhost:1/no/such:image', 'true');
    expect(image.exit).toBe(21);
    expect(failure(image).message).toMatch(
      /^the engine host-a has no image 'localhost:1\/no\/such:image', and it could not be pulled: /,
    );
    const program = await at.run('handle', app, '--', 'busybox', 'no-such-program');
    expect(failure(program)).toMatchObject({
      code: 'HANDLER_FAILED',
      message: expect.stringContaining('no-such-program'),
    });
    expect((await at.run('handle', at.name('none'), '--', 'busybox', 'true')).exit).toBe(21);
    expect((await at.run('handle', app)).exit).toBe(2);
    expect(await helpers(at.host)).toBe('');
  });

  it('--pause and --stop hold the users of the volumes meanwhile, and start them again, also when it fails', async () => {
    const at = await site();
    const app = await service(at);
    const state = () => at.docker('inspect', '-f', '{{.State.Status}}', app);
    for (const [option, held] of [
      ['--pause', 'paused'],
      ['--stop', 'exited'],
    ] as const) {
      const script = 'until [ -e /data/go ]; do sleep 0.1; done; exit 3';
      const running = at.run('handle', app, option, '--', 'busybox', 'sh', '-c', script);
      await helperAtWork(at.host, 'handler');
      expect(await state()).toBe(held);
      await at.inside(at.name('v'), 'touch go');
      expect((await running).exit).toBe(50);
      expect(await state()).toBe('running');
      await at.inside(at.name('v'), 'rm go');
    }
  });

  it('killed with SIGTERM removes its handler; killed with SIGKILL the next command does', async () => {
    const at = await site();
    const app = await service(at);
    for (const [signal, exit] of [
      ['SIGTERM', 143],
      ['SIGKILL', 137],
    ] as const) {
      const child = await at.start('handle', app, '--capture', 'out.txt', '--', 'busybox', 'sh', '-c', 'yes');
      child.stdin.end();
      const end = finished(child);
      const id = await helperAtWork(at.host, 'handler');
      await eventually(
        'it runs',
        async () => (await at.docker('inspect', '-f', '{{.State.Running}}', id)) === 'true',
      );
      child.kill(signal);
      expect((await end).exit).toBe(exit);
      if (signal === 'SIGKILL') expect(await helpers(at.host)).not.toBe('');
      else expect(await helpers(at.host)).toBe('');
    }
    await at.ok('handle', app, '--', 'busybox', 'true');
    expect(await helpers(at.host)).toBe('');
    expect(await at.document('snapshots')).toEqual([]);
    expect((await dockerTry(at.host, 'inspect', app)).exit).toBe(0);
  });
});
