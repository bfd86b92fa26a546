import { describe, expect, it } from 'vitest';
import { dockerOk } from '../../support/engine.ts';
import { bash, failure, site, warnings } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';

describe('local driver with options; third-party drivers; labels', () => {
  it("a password inside a driver's options is not written anywhere: masked, named, and asked for at restore", async () => {
    const at = await site();
    const dir = await tempDir();
    const options = [
      '-o',
      'type=none',
      '-o',
      `device=${dir}`,
      '-o',
      'o=bind,username=u,password=hunter2secret',
    ];
    const volume = await at.volume('v', '', ...options);
    await bash(`echo content >'${dir}/file'`);
    const backup = await at.run('backup', '--volume', volume);
    expect(backup.exit).toBe(0);
    expect(warnings(backup).join()).toMatch(/secrets in option o .*--driver-opt/);
    expect(backup.stdout + backup.stderr).not.toContain('hunter2');
    expect((await at.document('show', 'latest')).volumes[0]).toMatchObject({
      driverOpts: { type: 'none', device: dir, o: 'bind,username=u,password=***' },
      maskedOpts: ['o'],
    });
    expect(await bash(`find '${at.repo}' -name '*.zst' -exec zstd -dcq {} + | grep -c hunter2 || true`)).toBe(
      '0',
    );

    await at.docker('volume', 'rm', volume);
    await bash('find . -mindepth 1 -delete', { cwd: dir });
    const refused = await at.run('restore', volume);
    expect(refused.exit).toBe(2);
    expect(failure(refused)).toMatchObject({
      message: expect.stringContaining('option o'),
      hint: expect.stringContaining('--driver-opt o='),
    });
    expect(await dockerOk(at.host, 'volume', 'inspect', volume)).toBe(false);
    await at.ok('restore', volume, '--driver-opt', 'o=bind,username=u,password=hunter2secret');
    expect(await bash('cat file', { cwd: dir })).toBe('content');
    expect(await at.docker('volume', 'inspect', '-f', '{{.Options.o}}', volume)).toBe(
      'bind,username=u,password=hunter2secret',
    );
  });

  it('a secret given anew is for the volume that had it, not for the ordinary one beside it', async () => {
    const at = await site();
    const dir = await tempDir();
    const secret = 'o=bind,password=hunter2secret';
    const a = await at.volume('a', '', '-o', 'type=none', '-o', `device=${dir}`, '-o', secret);
    const b = await at.volume('b', 'echo b >file');
    await bash(`echo a >'${dir}/file'`);
    const c = await at.container('c', '-v', `${a}:/a`, '-v', `${b}:/b`, 'busybox', 'true');
    await at.ok('backup', c);
    await at.docker('rm', c);
    await at.docker('volume', 'rm', a, b);
    await bash('find . -mindepth 1 -delete', { cwd: dir });
    await at.ok('restore', c, '--driver-opt', secret);
    expect(await bash('cat file', { cwd: dir })).toBe('a');
    expect(await at.inside(b, 'cat file')).toBe('b');
    expect(await at.docker('volume', 'inspect', '-f', '{{.Options}}', b)).toBe('map[]');
  });

  it('options of the local driver decide where the files are, also after a restore', async () => {
    const at = await site();
    const dir = await tempDir();
    const volume = await at.volume('v', '', '-o', 'type=none', '-o', `device=${dir}`, '-o', 'o=bind');
    await bash(`echo content >'${dir}/file'`);
    await at.ok('backup', '--volume', volume);
    await at.docker('volume', 'rm', volume);
    await bash('find . -mindepth 1 -delete', { cwd: dir });
    await at.ok('restore', volume);
    expect(await bash('cat file', { cwd: dir })).toBe('content');
    // --driver local keeps the options, as it is the same driver; another name and no options need --driver-opt.
    expect(await at.docker('volume', 'inspect', '-f', '{{.Options.device}}', volume)).toBe(dir);
  });

  it('a driver that the target engine lacks is a clear error with --driver local as the way out', async () => {
    const at = await site();
    const volume = await at.volume('v', 'echo content >file', '--label', 'a=b');
    await at.ok('backup', '--volume', volume);
    await at.docker('volume', 'rm', volume);
    // A snapshot from an engine with another driver: the manifest says so, and nothing else differs.
    await bash(
      `m=$(find snapshots -name '*.json.zst'); zstd -dcq "$m" | jq -c 'del(.signature) | .volumes[0].driver = "acme/nfs" | .volumes[0].driverOpts = {"share": "x"}' >"$m.json"; zstd -q -f --rm "$m.json" -o "$m"`,
      { cwd: at.repo },
    );
    const result = await at.run('restore', volume);
    expect(result.exit).toBe(22);
    expect(failure(result)).toMatchObject({
      message: expect.stringContaining("driver 'acme/nfs'"),
      hint: expect.stringContaining('--driver local'),
    });
    expect(await dockerOk(at.host, 'volume', 'inspect', volume)).toBe(false);
    await at.ok('restore', volume, '--driver', 'local');
    expect(await at.inside(volume, 'cat file')).toBe('content');
    expect(await at.docker('volume', 'inspect', '-f', '{{.Driver}} {{.Options}} {{.Labels.a}}', volume)).toBe(
      'local map[] b',
    );
  });
});
