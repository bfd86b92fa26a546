import { PassThrough, Readable } from 'node:stream';
import { extract } from 'tar-stream';
import { describe, expect, it, vi } from 'vitest';
import type { EngineConnection } from '../../src/engine/connect.ts';
import { chooseHelperImage, helperImageName, inspectHelper } from '../../src/engine/image.ts';
import { packHelper, whyNotBuildable } from '../../src/engine/image-build.ts';
import { engineMessage, followEngineCall, jsonLines } from '../../src/engine/image-progress.ts';

interface FakeEngine {
  images?: string[];
  /** What a pull does: the lines that it sends, or nothing for ever. */
  pull?: string[] | 'hang';
  local?: boolean;
  arch?: string;
}

function fakeEngine(fake: FakeEngine): EngineConnection {
  const images = new Set(fake.images);
  const notFound = Object.assign(new Error('(HTTP code 404) no such image - No such image'), {
    statusCode: 404,
  });
  const docker = {
    getImage: (name: string) => ({
      inspect: async () => {
        if (!images.has(name)) throw notFound;
        return { Id: `sha256:${name}`, Config: { Volumes: { '/data': {} } } };
      },
    }),
    pull: async (name: string, { abortSignal }: { abortSignal: AbortSignal }) => {
      if (fake.pull === 'hang') {
        const stream = new PassThrough();
        abortSignal.addEventListener('abort', () => stream.destroy(new Error('aborted')));
        return stream;
      }
      images.add(name);
      return Readable.from(fake.pull ?? []);
    },
  };
  const info = { isLocal: fake.local ?? true, os: 'linux', arch: fake.arch ?? 'wasm' };
  return { docker, endpoint: { kind: 'unix', label: 'unix:///fake', socketPath: '/fake' }, info } as never;
}

const options = { version: '1.2.3', allowPull: true, allowBuild: true, pullStallMs: 50 };

describe('chooseHelperImage', () => {
  it('takes the requested image and no other', async () => {
    const engine = fakeEngine({ images: ['mine', 'volbak-helper:1.2.3'] });
    expect(await chooseHelperImage(engine, { ...options, requested: 'mine' })).toEqual({
      name: 'mine',
      id: 'sha256:mine',
      origin: 'requested',
      volumes: ['/data'],
    });
  });

  it('pulls the requested image', async () => {
    const helper = await chooseHelperImage(fakeEngine({}), { ...options, requested: 'mine' });
    expect(helper).toMatchObject({ name: 'mine', origin: 'requested' });
  });

  it('ends in one sentence where the requested image cannot be had', async () => {
    const failing = fakeEngine({
      images: ['volbak-helper:1.2.3'],
      pull: ['{"errorDetail":{"message":"denied"}}'],
    });
    await expect(chooseHelperImage(failing, { ...options, requested: 'mine' })).rejects.toMatchObject({
      code: 'HELPER_FAILED',
      message: expect.stringMatching(/helper image mine is not on the engine.*could not be pulled: denied/),
    });
    const off = { ...options, requested: 'mine', allowPull: false };
    await expect(chooseHelperImage(fakeEngine({}), off)).rejects.toMatchObject({
      message: expect.stringMatching(/pulling is switched off/),
    });
  });

  it('prefers its own image, then a public one that is there, then pulls', async () => {
    const both = fakeEngine({ images: ['debian:stable-slim', 'volbak-helper:1.2.3'] });
    expect(await chooseHelperImage(both, options)).toMatchObject({
      name: 'volbak-helper:1.2.3',
      origin: 'local',
    });
    const public_ = fakeEngine({ images: ['debian:stable-slim'] });
    expect(await chooseHelperImage(public_, options)).toMatchObject({ origin: 'local' });
    const log = vi.fn();
    expect(await chooseHelperImage(fakeEngine({}), { ...options, log })).toMatchObject({ origin: 'pulled' });
    expect(log).toHaveBeenCalledWith('pulling debian:stable-slim');
  });

  it('does not hang where a registry does not answer, and names every obstacle', async () => {
    await expect(chooseHelperImage(fakeEngine({ pull: 'hang' }), options)).rejects.toMatchObject({
      code: 'HELPER_FAILED',
      message: expect.stringMatching(/could not be pulled \(no progress for 0\.05 s\); this machine/),
    });
    const remote = fakeEngine({ pull: 'hang', local: false });
    await expect(chooseHelperImage(remote, options)).rejects.toMatchObject({
      message: expect.stringMatching(/the engine is not local/),
    });
  });

  it('stops where the user stops it', async () => {
    const controller = new AbortController();
    const choice = chooseHelperImage(fakeEngine({ pull: 'hang' }), { ...options, signal: controller.signal });
    controller.abort(new Error('stopped'));
    await expect(choice).rejects.toThrow('stopped');
  });
});

it('makes a valid tag of any version', () => {
  expect(helperImageName('1.2.3-rc.1+build')).toBe('volbak-helper:1.2.3-rc.1-build');
});

it('says why the programs of this machine cannot be used', () => {
  const engine = fakeEngine({ arch: 'arm64' });
  expect(whyNotBuildable(engine, { platform: 'linux', arch: 'arm64' })).toBeUndefined();
  expect(whyNotBuildable(engine, { platform: 'linux', arch: 'x64' })).toMatch(/is amd64, the engine arm64/);
  expect(whyNotBuildable(engine, { platform: 'darwin', arch: 'arm64' })).toMatch(/darwin/);
});

it('packs parents before files, links into /usr, and no passwd', async () => {
  const target = 'usr/lib/deep/file.so';
  const seen: string[] = [];
  const tar = extract();
  tar.on('entry', (header, stream, next) => {
    seen.push(header.name);
    expect(header).toMatchObject({ uid: 0, gid: 0, mtime: new Date(0) });
    if (header.name === 'lib64') expect(header).toMatchObject({ type: 'symlink', linkname: 'usr/lib64' });
    if (header.name === target) expect(header.size).toBeGreaterThan(0);
    stream.resume();
    stream.on('end', () => next());
  });
  for await (const chunk of await packHelper([{ source: import.meta.filename, target }])) tar.write(chunk);
  tar.end(undefined);
  await new Promise<void>((resolve) => tar.on('finish', () => resolve()));
  expect(seen.indexOf('usr/lib/deep/')).toBeLessThan(seen.indexOf(target));
  expect(seen.indexOf('usr/lib/deep/')).toBeGreaterThan(seen.indexOf('usr/'));
  for (const name of ['volbak/', 'etc/', 'tmp/', 'proc/', 'sys/', 'dev/']) expect(seen).toContain(name);
  expect(seen.filter((name) => name.includes('passwd'))).toEqual([]);
});

it('fails a pack whose file is gone', async () => {
  const pack = await packHelper([{ source: '/nonexistent', target: 'usr/bin/x' }]);
  await expect(pack.toArray()).rejects.toThrow(/ENOENT/);
});

describe('inspectHelper', () => {
  const run = (stdout: string, exitCode = 0, stderr = '') =>
    vi.fn(async () => ({ exitCode, stdout, stderr }));

  it('reads what the tools say', async () => {
    const gnu =
      'tar=tar (GNU tar) 1.34\nfind=d\nsort=yes\nxattrs=yes\nacls=yes\nmissing=sha256sum\nend=yes\n';
    expect(await inspectHelper('i', run(gnu))).toEqual({
      tar: 'GNU tar 1.34',
      gnuTar: true,
      find: true,
      sort: true,
      xattrs: true,
      acls: true,
      missing: ['sha256sum'],
    });
    expect(await inspectHelper('i', run('tar=tar (busybox) 1.35.0\nend=yes\n'))).toMatchObject({
      tar: 'busybox 1.35.0',
      gnuTar: false,
      find: false,
    });
  });

  it('refuses an image without a shell', async () => {
    await expect(inspectHelper('scratch', run('', 127, 'sh: not found\n'))).rejects.toMatchObject({
      code: 'HELPER_FAILED',
      message: expect.stringMatching(/scratch cannot be a helper.*127: sh: not found/),
    });
  });
});

describe('the answers of the engine', () => {
  it('are split at line ends, wherever the chunks are', async () => {
    const lines = [];
    for await (const line of jsonLines(
      Readable.from(['{"status":"a"}\r\n{"sta', 'tus":"b"}\n\n{"status":"c"}']),
    )) {
      lines.push(line.status);
    }
    expect(lines).toEqual(['a', 'b', 'c']);
  });

  it('may be an error after a 200', async () => {
    const call = async () => Readable.from(['{"status":"x"}\n{"error":"disk full"}\n']);
    await expect(followEngineCall(call, { stallMs: 1000 })).rejects.toThrow('disk full');
  });

  it('loses the status line of dockerode', () => {
    expect(engineMessage(new Error('(HTTP code 500) server error - no space left '))).toBe('no space left');
    expect(engineMessage(Object.assign(new Error('x'), { json: { message: 'from json' } }))).toBe(
      'from json',
    );
  });
});
