import { describe, expect, it } from 'vitest';
import { connect } from '../../../src/engine/connect.ts';
import { resolveEndpoint } from '../../../src/engine/endpoint.ts';
import {
  chooseHelperImage,
  copyImage,
  imageId,
  inspectHelper,
  type RunInImage,
} from '../../../src/engine/image.ts';
import { docker, dockerTry, engines } from '../../support/engine.ts';
import { afterwards, uniqueName } from '../../support/temp.ts';

function open(host: string) {
  return connect(resolveEndpoint({ host, env: {}, homeDir: '/nonexistent' }));
}

/** A version that no other test has, its images removed afterwards. */
function freshVersion(): string {
  const version = uniqueName('0.0.0-test');
  for (const host of [engines().a, engines().b]) {
    afterwards(() => dockerTry(host, 'image', 'rm', '-f', `volbak-helper:${version}`));
  }
  return version;
}

function runner(host: string): RunInImage {
  return async (image, cmd) => {
    const limits = ['--network', 'none', '--cap-drop', 'ALL', '--read-only'];
    const { exit, stdout, stderr } = await dockerTry(host, 'run', '--rm', ...limits, image, ...cmd);
    return { exitCode: exit, stdout, stderr };
  };
}

describe('the helper image', () => {
  it('is built from the tools of this machine, is found again, and goes to another engine', async () => {
    const { a, b } = engines();
    const [engine, other] = [await open(a), await open(b)];
    const version = freshVersion();
    const options = { version, allowPull: false, allowBuild: true };
    const built = await chooseHelperImage(engine, options);
    expect(built).toMatchObject({ name: `volbak-helper:${version}`, origin: 'built', volumes: [] });
    expect(await chooseHelperImage(engine, options)).toEqual({ ...built, origin: 'local' });
    expect(await docker(a, 'image', 'inspect', '-f', '{{json .Config.Labels}}', built.name)).toBe(
      `{"io.volbak.helper":"${version}"}`,
    );

    expect(await inspectHelper(built.name, runner(a))).toEqual({
      tar: expect.stringMatching(/^GNU tar \d/),
      gnuTar: true,
      find: true,
      sort: true,
      xattrs: true,
      acls: true,
      missing: [],
    });
    const { exitCode } = await runner(a)(built.name, ['sh', '-c', 'test -e /etc/passwd']);
    expect(exitCode).toBe(1);

    await copyImage(engine, other, built.name);
    expect(await imageId(other, built.name)).toBe(built.id);
    expect(await inspectHelper(built.name, runner(b))).toMatchObject({ gnuTar: true });
    expect(await chooseHelperImage(other, { ...options, allowBuild: false })).toMatchObject({
      origin: 'local',
    });
  });

  it('may be one that cannot do all', async () => {
    expect(await inspectHelper('busybox', runner(engines().a))).toMatchObject({ gnuTar: false, find: false });
  });

  it('is missing in one clear sentence, soon', async () => {
    const engine = await open(engines().a);
    const requested = 'registry.invalid/nobody/nothing:1';
    await expect(
      chooseHelperImage(engine, {
        version: '0',
        requested,
        allowPull: true,
        allowBuild: true,
        pullStallMs: 5000,
      }),
    ).rejects.toMatchObject({
      code: 'HELPER_FAILED',
      message: expect.stringMatching(
        /registry\.invalid\/nobody\/nothing:1 is not on the engine.*could not be pulled/,
      ),
    });
    await expect(copyImage(engine, engine, 'volbak-nothing:1')).rejects.toMatchObject({
      code: 'NOT_FOUND_IN_ENGINE',
    });
  });
});
