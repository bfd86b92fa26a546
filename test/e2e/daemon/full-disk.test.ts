import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { startDaemon } from '../../support/daemon.ts';
import { bash, site } from '../../support/site.ts';
import { afterwards, tempDir } from '../../support/temp.ts';
import { privateHomes, volbak } from '../../support/volbak.ts';

describe("the disk of the daemon's state directory is full", () => {
  it('jobs go on, nothing is stopped that could not be started again, and once there is room all is as before', async () => {
    const at = await site();
    const db = at.name('db');
    const volume = await at.volume('v', 'echo one >file');
    await at.docker(
      ...['run', '-d', '--network', 'none', '--stop-signal', 'KILL', '--name', db],
      ...['-v', `${volume}:/data`, 'toolbox', 'sleep', '3600'],
    );
    const running = () => at.docker('inspect', '-f', '{{.State.Running}}', db);
    const state = (await privateHomes()).XDG_STATE_HOME as string;
    await bash(`mount -t tmpfs -o size=256k none '${state}'`);
    afterwards(() => bash(`umount '${state}'`));
    const file = path.join(await tempDir(), 'volbak.yaml');
    await writeFile(
      file,
      `repositories: { main: { url: ${at.repo} } }\ndefaults: { host: "${at.host}", retry: { times: 0 } }\njobs:\n` +
        `  check: { verify: {}, schedule: "*/3 * * * * *" }\n` +
        `  tick: { backup: { containers: [${db}], stop: true }, schedule: "*/3 * * * * *" }\n`,
    );
    const daemon = await startDaemon(['--config', file]);
    const done = (job: string) => daemon.log.filter(({ msg }) => msg === `${job} is done`).length;
    await daemon.says(/^tick is done/);
    await daemon.says(/^check is done/);
    await bash(`dd if=/dev/zero of='${state}/filler' bs=1k 2>/dev/null || true`);
    await daemon.says(/^what runs cannot be kept in .*ENOSPC|no space/);
    const before = done('check');
    await daemon.says(/^check is done/, before + 2);
    await daemon.says(/^tick failed: .*(ENOSPC|space)/);
    expect(await running()).toBe('true');
    await bash(`rm '${state}/filler'`);
    await daemon.says(/^what runs is kept in .* again/);
    const ticks = done('tick');
    await daemon.says(/^tick is done/, ticks + 1);
    expect(daemon.log.filter(({ msg }) => /^what runs cannot be kept/.test(msg)).length).toBeLessThan(4);
    daemon.child.kill('SIGTERM');
    expect(await daemon.ended).toMatchObject({ exit: 0 });
    expect(await running()).toBe('true');

    await bash(`dd if=/dev/zero of='${state}/filler' bs=1k 2>/dev/null || true`);
    const second = await volbak(['--config', file, 'daemon']);
    expect(second.exit).toBe(78);
    expect(second.stderr).toContain('the state directory');
  });
});
