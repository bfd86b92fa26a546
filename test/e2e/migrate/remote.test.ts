import { describe, expect, it } from 'vitest';
import { changingAtStop, stateOf } from '../../support/running.ts';
import { summary } from '../../support/site.ts';
import { SMALL_TREE } from '../../support/trees.ts';
import { volbakOk } from '../../support/volbak.ts';
import { makeCertificates, sshServer, tlsEngine } from '../engine-connect/servers.ts';
import { type TwoEngines, twoEngines } from './support.ts';

const CHANGE = 'echo more >>random; rm -r empty; mkdir new; echo 1 >new/file';

/** On a busy machine an engine behind ssh takes its time. */
const MINUTES = 300_000;

/** Much that compresses, to see that it is. */
async function source({ at }: TwoEngines): Promise<{ volume: string; app: string }> {
  const volume = await at.volume(
    'data',
    `${SMALL_TREE}; head -c 30000000 /dev/zero | tr '\\0' x >text; sleep 4`,
  );
  return { volume, app: await changingAtStop(at, volume, CHANGE) };
}

describe('migrate over the network, compressed on the way', () => {
  it(
    'to an engine behind ssh, and back from it',
    async () => {
      const two = await twoEngines();
      const { at, other, differences, there } = two;
      const server = await sshServer({ DOCKER_HOST: other });
      const known = server.knownHosts(`[127.0.0.1]:${server.port}`);
      const far = `ssh://root@127.0.0.1:${server.port}?key=${encodeURIComponent(server.key)}&known-hosts=${encodeURIComponent(known)}`;
      const { volume, app } = await source(two);
      const migrate = async (...args: string[]) =>
        summary(await volbakOk([...at.globals, 'migrate', ...args], { timeout: MINUTES }));
      const done = await migrate(app, '--to-host', far, '--keep-source-stopped');
      expect(done.volumes).toMatchObject([{ name: volume, passes: 2, compared: 'all' }]);
      expect(done.volumes[0].secondBytes).toBeGreaterThan(0);
      expect(await stateOf(at, app)).toBe('exited');
      expect(await differences(volume)).toBe('');
      const back = at.name('back');
      const home = ['--from-host', far, '--to-host', at.host, '--rename', `${volume}=${back}`];
      const returned = await migrate(volume, ...home);
      expect(returned.volumes).toMatchObject([{ name: back, from: volume, digest: done.volumes[0].digest }]);
      expect(await differences(back, volume)).toBe('');
      expect(await there('ps', '-aq', '--filter', 'label=io.volbak.helper-run')).toBe('');
    },
    2 * MINUTES,
  );

  it('to an engine behind TCP with TLS', async () => {
    const certs = await makeCertificates();
    const two = await twoEngines({ env: { DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: certs } });
    const { at, other, differences } = two;
    const { port } = await tlsEngine(other, certs);
    const { volume, app } = await source(two);
    const done = await at.ok('migrate', app, '--to-host', `tcp://127.0.0.1:${port}`, '--keep-source-stopped');
    expect(done.volumes).toMatchObject([{ name: volume, passes: 2, compared: 'all' }]);
    expect(await differences(volume)).toBe('');
  });
});
