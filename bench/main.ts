// Called by run.sh: main.ts <docker host> <work directory> [options of run.sh]
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { Cases, type SetResult, stepsOf } from './cases.ts';
import { burstCost, daemonTable, idleCost } from './daemon.ts';
import { type DataSet, databaseSet, GB, largeSet, mediaSet, smallSet, treeSet } from './data/sets.ts';
import { machine } from './machine.ts';
import { median, run } from './measure.ts';
import { MigrateCases, type MigrateFigures } from './migrate.ts';
import { options } from './options.ts';
import { method } from './report.ts';
import { Results } from './results.ts';
import { measureStores } from './stores.ts';
import { borg } from './tools/borg.ts';
import { restic } from './tools/restic.ts';
import { oneLiner, tarInside, tarPiped } from './tools/tar.ts';
import { bench, type Tool } from './tools/tool.ts';
import { volbak } from './tools/volbak.ts';

const { host, work, rounds, scale, only, large, grown, million, stores, migrate, daemon } = options();
const root = path.resolve(import.meta.dirname, '..');
const launcher = path.join(root, 'bin/volbak');
const say = (text: string) => process.stderr.write(`${text}\n`);
const setup = bench(host, work, path.dirname(new URL(host).pathname));
const own = volbak(setup, launcher);
const backupTools: Tool[] = [own, restic(setup), borg(setup)];
const allTools: Tool[] = [tarPiped(setup), tarInside(setup), oneLiner(setup), ...backupTools];
/** What is the same on all data is measured on the tree alone. */
const TREE_ONLY = ['single', 'export', 'archive'];

async function measure(
  set: DataSet,
  wanted: string[],
  leaveOut: string[],
  tools: Tool[],
  times: number,
): Promise<SetResult | undefined> {
  const steps = stepsOf(set, wanted, leaveOut);
  if (steps.length === 0) return undefined;
  const cases = new Cases(setup, set, say);
  for (let round = 0; round < times; round++) {
    say(`${set.name}, round ${round + 1} of ${times}:`);
    await cases.round(round, steps, tools);
  }
  cases.close();
  return cases.result;
}

/** Sets of about 1 GB, as many rounds as asked for. */
async function base(results: Results): Promise<void> {
  const sets = [
    treeSet(scale),
    databaseSet(GB * scale),
    smallSet(Math.round(20_000 * scale)),
    mediaSet(0.4 * GB * scale),
  ];
  for (const set of sets) {
    const leaveOut = set.name === 'tree' ? [] : TREE_ONLY;
    const tools = set.name === 'tree' ? allTools : allTools.filter(({ name }) => name !== 'tar inside');
    const result = await measure(set, only, leaveOut, tools, rounds);
    if (result) await results.addSet(result, rounds);
  }
}

/** 10 GB once. */
async function measureLarge(results: Results): Promise<void> {
  const tools = allTools.filter(({ name }) => name !== 'tar inside');
  const result = await measure(largeSet(scale), only, [], tools, 1);
  if (result) await results.addSet(result, 1);
}

/** One round on each of several sizes. */
async function growth(sets: DataSet[]): Promise<SetResult[]> {
  const results: SetResult[] = [];
  for (const set of sets) {
    const result = await measure(set, ['first', 'unchanged', 'changed', 'restore'], [], backupTools, 1);
    if (result) results.push(result);
  }
  return results;
}

async function measureGrowth(results: Results): Promise<void> {
  const bytes = await growth([1, 3, 10].map((n) => databaseSet(n * GB * scale, `bytes-${n}`)));
  await results.addGrown('How time grows with bytes: one file as of a database', bytes);
  const sizes = [10_000, 100_000];
  const files = await growth(sizes.map((n) => smallSet(Math.round(n * scale), `files-${n / 1000}k`)));
  await results.addGrown('How time grows with files: small files', files);
}

async function measureMillion(results: Results): Promise<void> {
  const set = smallSet(Math.round(1e6 * scale), 'million');
  const result = await measure(set, ['first', 'unchanged', 'restore'], [], backupTools, 1);
  if (result) await results.addSet(result, 1);
}

async function versionSeconds(): Promise<number> {
  const taken: number[] = [];
  for (let n = 0; n < 11; n++) taken.push((await run(launcher, ['--version'])).seconds);
  return median(taken);
}

async function storesTable(): Promise<string[]> {
  const { BENCH_S3: endpoint = '', BENCH_SSHD: sshd = '', BENCH_SSH_PORT: sshPort = '' } = process.env;
  const keys = { AWS_ACCESS_KEY_ID: 'volbak', AWS_SECRET_ACCESS_KEY: 'volbaksecret' };
  Object.assign(process.env, keys, { DOCKER_HOST: host });
  const cases = new Cases(setup, { ...treeSet(scale), name: 'stores' }, say);
  const env = { XDG_STATE_HOME: path.join(work, 'state'), XDG_CACHE_HOME: path.join(work, 'cache') };
  const at = (repository: string, ...args: string[]) =>
    setup.timed(launcher, ['--no-progress', '--json', '--repo', repository, ...args], { env });
  const lines = await measureStores({ endpoint, sshd, sshPort }, 'bench-stores', work, rounds, at);
  cases.close();
  return lines;
}

async function measureDaemon(): Promise<string[]> {
  const at = { launcher, work: path.join(work, 'daemon'), host, env: process.env };
  say('the daemon, idle:');
  const idle = await idleCost(at, 200, 60);
  say('the daemon, 1,000 jobs at once:');
  return daemonTable(idle, await burstCost(at, 1000, 4));
}

async function migrateFigures(): Promise<MigrateFigures> {
  const { BENCH_OTHER: other = '' } = process.env;
  const cases = new Cases(setup, { ...treeSet(scale), name: 'migrate' }, say);
  const there = bench(other, work, path.dirname(new URL(other).pathname));
  const measured = new MigrateCases(
    setup,
    there,
    { source: cases.source, bytes: cases.result.size.bytes },
    launcher,
  );
  for (let round = 0; round < rounds; round++) {
    say(`migrate, round ${round + 1} of ${rounds}`);
    await measured.round();
  }
  measured.close();
  cases.close();
  return measured.figures(cases.result.size);
}

async function main(): Promise<void> {
  mkdirSync(path.join(work, 'state'));
  const described = machine(host, work, path.join(root, 'node_modules/node/bin/node'));
  await run(launcher, ['--no-progress', 'helper'], {
    env: { DOCKER_HOST: host, XDG_STATE_HOME: path.join(work, 'state') },
  });
  const results = new Results(
    {
      results: path.join(root, 'bench/results.md'),
      plot: path.join(root, 'bench/results.svg'),
      notes: path.join(root, 'bench/notes.md'),
    },
    { versionSeconds: await versionSeconds(), machine: described, method: method(rounds, allTools) },
  );
  await base(results);
  if (large) await measureLarge(results);
  if (million) await measureMillion(results);
  if (grown) await measureGrowth(results);
  if (stores) await results.addTable(await storesTable());
  if (daemon) await results.addTable(await measureDaemon());
  if (migrate) {
    const { lines, verdicts } = await migrateFigures();
    await results.addTable(lines, verdicts);
  }
  process.stdout.write(`\n${results.text()}`);
}

await main();
