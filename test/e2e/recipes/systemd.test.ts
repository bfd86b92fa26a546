import { realpath, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { socketGroup } from '../../support/container.ts';
import { requireImages } from '../../support/databases.ts';
import { dockerTry, engines } from '../../support/engine.ts';
import { eventually } from '../../support/scene.ts';
import { type Site, site } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { projectRoot } from '../../support/volbak.ts';

beforeAll(() => requireImages(engines().a, 'systemd'), 600_000);

/** What systemd needs in a container, and no more: not all machines may give all rights away, as `--privileged` does. */
const RIGHTS = [
  ...['SYS_ADMIN', 'NET_ADMIN', 'SYS_PTRACE', 'DAC_READ_SEARCH'].flatMap((name) => ['--cap-add', name]),
  ...['seccomp=unconfined', 'systempaths=unconfined'].flatMap((option) => ['--security-opt', option]),
  ...[
    '--volume',
    '/sys/fs/cgroup:/sys/fs/cgroup',
    '--tmpfs',
    '/run',
    '--tmpfs',
    '/tmp',
    '--env',
    'container=docker',
  ],
];

/** A Debian that systemd runs, in a container, with this checkout's volbak and the recipe's unit installed. */
interface Machine {
  sh(script: string): Promise<string>;
  /** Waits until a command succeeds there, and answers with its output. */
  until(script: string): Promise<string>;
}

async function machine(at: Site, config: string): Promise<Machine> {
  const dir = await tempDir();
  await writeFile(path.join(dir, 'volbak.yaml'), config);
  const mount = (source: string, target: string) => ['--volume', `${source}:${target}:ro`];
  const name = at.name('machine');
  await at.docker(
    ...['run', '-d', '--network', 'none', '--name', name, ...RIGHTS],
    ...['bin', 'dist', 'package.json', 'recipes', 'schema'].flatMap((part) =>
      mount(path.join(projectRoot, part), `/opt/volbak/${part}`),
    ),
    ...mount(await realpath(path.join(projectRoot, 'node_modules')), '/opt/volbak/node_modules'),
    ...mount(path.join(dir, 'volbak.yaml'), '/etc/volbak/volbak.yaml'),
    ...['--volume', '/var/run/docker.sock:/engine/docker.sock', 'systemd:local'],
  );
  const run = (script: string) => dockerTry(at.host, 'exec', name, 'sh', '-euc', script);
  const sh = async (script: string) => {
    const { exit, stdout, stderr } = await run(script);
    if (exit !== 0) throw new Error(`${script}: exit ${exit}\n${stderr}${stdout}`);
    return stdout.trimEnd();
  };
  const until = (script: string) =>
    eventually(
      script,
      async () => {
        const { exit, stdout } = await run(script);
        return exit === 0 && (stdout.trimEnd() || 'yes');
      },
      60,
    );
  await until('systemctl is-system-running --wait | grep -E "running|degraded"');
  // As the page says; the engine's socket is elsewhere here, since /run is this machine's own.
  await sh(`ln -s /opt/volbak/bin/volbak /usr/local/bin/volbak
groupadd --system --non-unique --gid ${await socketGroup(at.host)} docker
useradd --system --groups docker --home-dir /var/lib/volbak volbak
echo DOCKER_HOST=unix:///engine/docker.sock >/etc/volbak/environment
cp /opt/volbak/recipes/systemd/volbak.service /etc/systemd/system/
systemctl daemon-reload`);
  return { sh, until };
}

describe('recipes/systemd/volbak.service', () => {
  it('runs the daemon under a real systemd: ready when it says so, backs up as a user without rights, reloads, ends its job', async () => {
    const at = await site();
    const volume = await at.volume('v', 'echo one >file; chmod 600 file');
    const { sh, until } = await machine(
      at,
      `jobs: { tick: { backup: { volume: [${volume}] }, schedule: "*/5 * * * * *" } }
`,
    );
    expect(await sh('systemd-analyze verify /etc/systemd/system/volbak.service 2>&1')).toBe('');
    await sh('systemctl start volbak');
    const show = (...properties: string[]) =>
      sh(`systemctl show --value -p ${properties.join(' -p ')} volbak`);
    expect(await show('ActiveState', 'SubState', 'Type')).toBe('notify\nactive\nrunning');
    const pid = await show('MainPID');
    expect(await sh(`tr '\\0' ' ' </proc/${pid}/cmdline`)).toMatch(/main\.js daemon$/);
    expect(await sh(`stat -c %U /proc/${pid}`)).toBe('volbak');
    expect(await sh(`grep -E '^(CapEff|NoNewPrivs)' /proc/${pid}/status`)).toBe(
      'CapEff:\t0000000000000000\nNoNewPrivs:\t1',
    );
    await until('journalctl -u volbak | grep "tick is done"');
    expect(await sh('stat -c "%U %a" /var/lib/volbak /var/cache/volbak')).toBe('volbak 700\nvolbak 700');
    const list = "su -s /bin/sh volbak -c 'cd /; XDG_DATA_HOME=/var/lib/volbak volbak snapshots --json'";
    expect(JSON.parse(await sh(list))[0]).toMatchObject({
      source: `host-a/volume/${volume}`,
      status: 'complete',
    });

    await sh('systemctl reload volbak');
    await until('journalctl -u volbak | grep "was read anew"');
    expect(await show('ActiveState', 'MainPID')).toBe(`${pid}\nactive`);

    // Nothing but the unit brings it back.
    await sh(`kill -KILL ${pid}`);
    await until('test "$(systemctl show --value -p NRestarts volbak)" = 1 && systemctl is-active volbak');
    await sh('systemctl stop volbak');
    expect(await show('ActiveState', 'Result')).toBe('success\ninactive');
    expect(await sh('journalctl -u volbak | tail -5')).toMatch(/info {2}ended/);
  });

  it('cannot write outside of its own directories', async () => {
    const at = await site();
    const { sh } = await machine(at, 'jobs: {}\n');
    const probe = [
      'for d in / /etc /usr /home /root /opt /var/lib /var/tmp; do touch "$d/probe" 2>/dev/null && echo "$d"; done',
      'touch /var/lib/volbak/probe /var/cache/volbak/probe /run/volbak/probe && echo own',
    ].join('; ');
    await sh(`cat >/probe.sh <<'END'
${probe}
END
sed -e 's,^ExecStart=.*,ExecStart=/bin/sh /probe.sh,' -e 's,^Type=.*,Type=oneshot,' -e /^Restart/d \\
  /etc/systemd/system/volbak.service >/etc/systemd/system/probe.service
systemctl daemon-reload; systemctl start probe`);
    // A private one: what is written there is gone when the service ends.
    expect(await sh('journalctl -u probe -o cat | grep -E "^(/|own)"')).toBe('/var/tmp\nown');
    expect(await sh('ls /var/tmp')).toBe('');
  });
});
