import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { connect } from '../../../src/engine/connect.ts';
import { resolveEndpoint } from '../../../src/engine/endpoint.ts';
import { docker, engines } from '../../support/engine.ts';
import { afterwards, tempDir } from '../../support/temp.ts';
import { makeCertificates, plainEngine, tlsEngine } from './servers.ts';

function open(host: string, env: NodeJS.ProcessEnv = {}, timeoutMs = 10_000) {
  return connect(resolveEndpoint({ host, env, homeDir: '/nonexistent' }), { timeoutMs });
}

const unreachable = (message: RegExp) => ({
  code: 'ENGINE_UNREACHABLE',
  message: expect.stringMatching(message),
  hint: expect.stringMatching(/./),
});

describe('a unix socket', () => {
  it('connects and says who is there', async () => {
    const { a, b } = engines();
    const { info, docker: client } = await open(a);
    expect(info).toMatchObject({
      id: await docker(a, 'info', '-f', '{{.ID}}'),
      name: await docker(a, 'info', '-f', '{{.Name}}'),
      serverVersion: await docker(a, 'version', '-f', '{{.Server.Version}}'),
      os: 'linux',
      arch: await docker(a, 'version', '-f', '{{.Server.Arch}}'),
      rootless: false,
      selinux: false,
      isLocal: true,
    });
    expect((client.modem as { version?: string }).version).toBe(`v${info.apiVersion}`);
    expect((await open(b)).info.id).not.toBe(info.id);
  });

  it('goes where --host says, whatever DOCKER_HOST of the process says', async () => {
    const before = process.env.DOCKER_HOST;
    process.env.DOCKER_HOST = 'ssh://nobody@nowhere.invalid';
    try {
      expect((await open(engines().a)).info.isLocal).toBe(true);
    } finally {
      if (before === undefined) delete process.env.DOCKER_HOST;
      else process.env.DOCKER_HOST = before;
    }
  });

  it('says that no engine is there', async () => {
    const dir = await tempDir();
    await expect(open(`unix://${dir}/none.sock`)).rejects.toMatchObject(
      unreachable(/no engine listens there/),
    );
    await expect(open(`unix://${import.meta.filename}`)).rejects.toMatchObject(
      unreachable(/no engine listens/),
    );
  });

  it('gives up where nobody answers in time, and at once where the user stops it', async () => {
    const path = join(await tempDir(), 'silent.sock');
    const server = createServer(() => undefined).listen(path);
    afterwards(async () => server.close());
    const started = Date.now();
    await expect(open(`unix://${path}`, {}, 300)).rejects.toMatchObject(
      unreachable(/no answer within 0\.3 s/),
    );
    const controller = new AbortController();
    const endpoint = resolveEndpoint({ host: `unix://${path}`, env: {}, homeDir: '/' });
    const attempt = connect(endpoint, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('stopped')), 50);
    await expect(attempt).rejects.toThrow('stopped');
    expect(Date.now() - started).toBeLessThan(3000);
  });
});

describe('tcp', () => {
  it('connects in plain HTTP', async () => {
    const { port } = await plainEngine(engines().a);
    expect((await open(`tcp://127.0.0.1:${port}`)).info).toMatchObject({ isLocal: false, os: 'linux' });
  });

  it('says that nothing listens, and that a name is not known', async () => {
    await expect(open('tcp://127.0.0.1:1')).rejects.toMatchObject(unreachable(/connection refused/));
    await expect(open('tcp://engine.invalid')).rejects.toMatchObject(
      unreachable(/name of the host is not known/),
    );
  });

  it('tells another server from an engine', async () => {
    const { createServer: http } = await import('node:http');
    const server = http((_, answer) => answer.end('<html>hello</html>'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
    afterwards(async () => server.close());
    const { port } = server.address() as { port: number };
    await expect(open(`tcp://127.0.0.1:${port}`)).rejects.toMatchObject(unreachable(/not a Docker Engine/));
  });
});

describe('tcp with TLS', () => {
  it('connects with a client certificate and explains what goes wrong', async () => {
    const certs = await makeCertificates();
    const { port } = await tlsEngine(engines().a, certs);
    const plain = await plainEngine(engines().a);
    const host = `tcp://127.0.0.1:${port}`;
    const env = { DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: certs };
    expect((await open(host, env)).info).toMatchObject({ isLocal: false, os: 'linux' });
    expect((await open(host.replace('tcp', 'https'), env)).info.id).not.toBe('');

    await expect(open(host)).rejects.toMatchObject(unreachable(/closed the connection|wants TLS/));
    await expect(open(host.replace('tcp', 'https'))).rejects.toMatchObject(unreachable(/not trusted/));
    await expect(open(`tcp://127.0.0.1:${plain.port}`, env)).rejects.toMatchObject(unreachable(/plain HTTP/));
    await expect(open(`tcp://localhost:${port}`, env)).rejects.toMatchObject(unreachable(/another name/));

    const other = await makeCertificates();
    const foreign = { DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: other };
    await expect(open(host, foreign)).rejects.toMatchObject(unreachable(/not trusted/));

    const endpoint = resolveEndpoint({ host, env, homeDir: '/' });
    if (endpoint.kind !== 'tcp' || !endpoint.tls) throw new Error('no TLS');
    const noCert = { ...endpoint, tls: { ...endpoint.tls, cert: undefined, key: undefined } };
    await expect(connect(noCert)).rejects.toMatchObject(
      unreachable(/refuses our client certificate|wants one/),
    );
    const wrongKey = {
      ...endpoint,
      tls: { ...endpoint.tls, key: readFileSync(join(other, 'key.pem'), 'utf8') },
    };
    await expect(connect(wrongKey)).rejects.toMatchObject(unreachable(/TLS files cannot be used/));
  });
});
