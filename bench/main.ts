// Called by run.sh: main.ts <docker host> <work directory> [--runs 5] [--large] [--stores] [--gigabytes 1.3]
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { machine } from './machine.ts';
import { type Measured, median, run } from './measure.ts';
import { measureStores } from './stores.ts';
import { addRandom, makeTree, type TreeSize } from './tree.ts';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '5' },
    large: { type: 'boolean', default: false },
    stores: { type: 'boolean', default: false },
    gigabytes: { type: 'string', default: '1.3' },
  },
});
const [host = '', work = ''] = positionals;
const runs = Number(values.runs);
if (!Number.isInteger(runs) || runs < 1)
  throw new Error(`--runs takes a whole number from 1, not ${values.runs}`);
const root = path.resolve(import.meta.dirname, '..');
const launcher = path.join(root, 'bin/volbak');
const repository = path.join(work, 'repository');
const archive = path.join(work, 'archive.tar.zst');
const env = {
  DOCKER_HOST: host,
  VOLBAK_REPO: repository,
  XDG_STATE_HOME: path.join(work, 'state'),
  XDG_CACHE_HOME: path.join(work, 'cache'),
};
const GB = 1e9;
const MB = 1e6;

const say = (text: string) => process.stderr.write(`${text}\n`);
const docker = (...args: string[]) =>
  execFileSync('docker', ['-H', host, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim();
const shell = (script: string) => run('bash', ['-o', 'pipefail', '-c', script], env);
const volbak = (...args: string[]) => run(launcher, ['--no-progress', '--json', ...args], env, true);

interface Figures {
  size: TreeSize;
  runs: Record<'plainBackup' | 'firstBackup' | 'secondBackup' | 'plainRestore' | 'restore', Measured[]>;
  plainStored: number;
  stored: number;
}

/** What a run has written must not slow the next one down. */
function settle(): void {
  execFileSync('sync');
}

function timedVolume(name: string): string {
  docker('volume', 'create', name);
  return name;
}

async function plainRestore(): Promise<Measured> {
  const volume = timedVolume('bench-plain');
  settle();
  const measured = await shell(
    `zstd -dcq '${archive}' | docker run -i --rm --log-driver none --network none -v ${volume}:/data toolbox tar -x -p --numeric-owner -C /data`,
  );
  docker('volume', 'rm', volume);
  return measured;
}

async function volbakRestore(): Promise<Measured> {
  settle();
  const measured = await volbak('restore', 'bench', '--to-volume', 'bench-restored');
  docker('volume', 'rm', 'bench-restored');
  return measured;
}

async function plainBackup(): Promise<Measured> {
  rmSync(archive, { force: true });
  settle();
  return shell(
    `docker run --rm --log-driver none --network none --volumes-from bench:ro toolbox tar -c --numeric-owner -C /data . | zstd -3 -T0 -q >'${archive}'`,
  );
}

async function volbakBackup(fresh: boolean): Promise<Measured> {
  if (fresh) rmSync(repository, { recursive: true, force: true });
  settle();
  return volbak('backup', 'bench');
}

/** Measures one volume; in every other round volbak goes first, so that neither always finds the warmer cache. */
async function measure(size: TreeSize, rounds: number): Promise<Figures> {
  const figures: Figures = {
    size,
    runs: { plainBackup: [], firstBackup: [], secondBackup: [], plainRestore: [], restore: [] },
    plainStored: 0,
    stored: 0,
  };
  const { runs: taken } = figures;
  const steps: Record<string, () => Promise<void>> = {
    plain: async () => {
      taken.plainBackup.push(await plainBackup());
      figures.plainStored = statSync(archive).size;
      taken.plainRestore.push(await plainRestore());
    },
    volbak: async () => {
      taken.firstBackup.push(await volbakBackup(true));
      figures.stored = Number(execFileSync('du', ['-sb', repository], { encoding: 'utf8' }).split('\t')[0]);
      taken.secondBackup.push(await volbakBackup(false));
      taken.restore.push(await volbakRestore());
    },
  };
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? ['plain', 'volbak'] : ['volbak', 'plain'];
    for (const step of order) await steps[step]?.();
    const last = Object.entries(taken).map(([name, list]) => `${name} ${list.at(-1)?.seconds.toFixed(2)} s`);
    say(`round ${round + 1} of ${rounds}: ${last.join(', ')}`);
  }
  return figures;
}

async function versionSeconds(): Promise<number> {
  const taken: number[] = [];
  for (let n = 0; n < 11; n++) taken.push((await run(launcher, ['--version'], env)).seconds);
  return median(taken);
}

const seconds = (list: Measured[]) => median(list.map((m) => m.seconds));
const peak = (list: Measured[]) => Math.max(...list.map((m) => m.peakBytes));

function rows(title: string, f: Figures): string[] {
  const speed = (list: Measured[]) => `${(f.size.bytes / MB / seconds(list)).toFixed(0)} MB/s`;
  const spread = (list: Measured[]) =>
    `${Math.min(...list.map((m) => m.seconds)).toFixed(2)} – ${Math.max(...list.map((m) => m.seconds)).toFixed(2)}`;
  const row = (name: string, list: Measured[], against?: Measured[]) =>
    `| ${name} | ${seconds(list).toFixed(2)} s | ${spread(list)} | ${speed(list)} | ${against ? (seconds(list) / seconds(against)).toFixed(2) : ''} | ${peak(list) > 0 ? `${(peak(list) / MB).toFixed(0)} MB` : ''} |`;
  const { plainBackup, firstBackup, secondBackup, plainRestore: unpack, restore } = f.runs;
  return [
    `## ${title}: ${(f.size.bytes / GB).toFixed(2)} GB in ${f.size.files.toLocaleString('en')} files`,
    '',
    '| | median | range | speed | times plain | peak memory |',
    '|---|---|---|---|---|---|',
    row('`docker run --volumes-from … tar \\| zstd -3 -T0 > file`', plainBackup),
    row('`volbak backup`, first, new repository', firstBackup, plainBackup),
    row('`volbak backup`, second, nothing changed', secondBackup, plainBackup),
    row('`zstd -d \\| docker run -i … tar -x`', unpack),
    row('`volbak restore`', restore, unpack),
    '',
    `Stored: ${(f.plainStored / MB).toFixed(0)} MB by tar and zstd, ${(f.stored / MB).toFixed(0)} MB by volbak.`,
    '',
  ];
}

function verdicts(version: number, all: Figures[]): string[] {
  const line = (name: string, value: number, limit: number, unit: string, digits: number) =>
    `- ${value <= limit ? 'met' : 'MISSED'}: ${name} ${value.toFixed(digits)}${unit}, limit ${limit}${unit}`;
  const base = all[0] as Figures;
  const ratio = seconds(base.runs.firstBackup) / seconds(base.runs.plainBackup);
  const memory = Math.max(
    ...all.flatMap((f) => [peak(f.runs.firstBackup), peak(f.runs.secondBackup), peak(f.runs.restore)]),
  );
  return [
    '## Limits',
    '',
    line('first backup against tar and zstd', ratio, 1.25, '×', 2),
    line('peak memory of all volbak processes', memory / MB, 400, ' MB', 0),
    line('`volbak --version`', version, 0.15, ' s', 3),
    '',
  ];
}

async function main(): Promise<void> {
  mkdirSync(path.join(work, 'state'));
  const described = machine(host, work, path.join(root, 'node_modules/node/bin/node'));
  docker('volume', 'create', 'bench-data');
  docker('create', '--name', 'bench', '-v', 'bench-data:/data', 'toolbox', 'true');
  const data = docker('volume', 'inspect', '-f', '{{.Mountpoint}}', 'bench-data');
  say('gathering real files of this machine ...');
  const size = makeTree(data, {
    files: Math.round((60_000 * Number(values.gigabytes)) / 1.3),
    bytes: Number(values.gigabytes) * GB,
  });
  say(`${size.files} files, ${(size.bytes / GB).toFixed(2)} GB; one round to warm up, then ${runs} measured`);
  await volbak('helper');
  await measure(size, 1);
  const all = [await measure(size, runs)];
  const version = await versionSeconds();
  const lines = rows('Many files', all[0] as Figures);
  if (values.large) {
    say('adding random and repeated data up to 10 GB ...');
    const more = addRandom(data, 10 * GB - size.bytes);
    const large = { files: size.files + more.files, bytes: size.bytes + more.bytes };
    all.push(await measure(large, 1));
    lines.push(...rows('Large', all[1] as Figures));
  }
  if (values.stores) {
    const { BENCH_S3: endpoint = '', BENCH_SSHD: sshd = '', BENCH_SSH_PORT: sshPort = '' } = process.env;
    const keys = { AWS_ACCESS_KEY_ID: 'volbak', AWS_SECRET_ACCESS_KEY: 'volbaksecret' };
    Object.assign(process.env, keys, { DOCKER_HOST: host });
    const at = (repository: string, ...args: string[]) =>
      run(launcher, ['--no-progress', '--json', '--repo', repository, ...args], env, true);
    lines.push(...(await measureStores({ endpoint, sshd, sshPort }, work, runs, at)));
  }
  const text = [
    '# Measurements',
    '',
    `Written by \`npm run bench\`: median of ${runs}, alternating; "times plain" compares with the same done by tar and zstd.`,
    'Memory is the highest sum of resident memory of volbak and its children, sampled every 50 ms; the helper',
    'container and the engine are not in it.',
    '',
    ...verdicts(version, all),
    ...lines,
    '## Machine',
    '',
    ...described.map((line) => `- ${line}`),
    '',
  ].join('\n');
  process.stdout.write(`\n${text}`);
  writeFileSync(path.join(root, 'bench/results.md'), text);
}

await main();
