import type { Command } from 'commander';
import { formatBytes } from '../../core/units.ts';
import type { Manifest } from '../../repository/manifest.ts';
import type { Register } from '../program.ts';
import { table } from '../render/table.ts';
import type { Runtime } from '../runtime.ts';

export function define(program: Command, register: Register): void {
  const command = program
    .command('snapshots')
    .alias('ls-snapshots')
    .description('list snapshots, oldest first')
    .argument('[source]', 'only of this source: <host>/<container or volume>/<name>, or a short name');
  register(command, async (runtime, [source]) => {
    const manifests = await readSnapshots(runtime, source);
    runtime.output.document(manifests.map(describe));
    if (runtime.output.json) return 0;
    if (manifests.length === 0) runtime.output.line('no snapshots yet');
    else
      for (const line of table(
        ['ID', 'SOURCE', 'STARTED', 'STATUS', 'VOLUMES', 'SIZE', 'NEW', 'TAGS'],
        manifests.map(row),
      ))
        runtime.output.line(line);
    return 0;
  });
}

async function readSnapshots(runtime: Runtime, source: string | undefined): Promise<Manifest[]> {
  const { formatSource, matchingSources } = await import('../../repository/references.ts');
  const { VolbakError } = await import('../../core/errors.ts');
  const repository = await runtime.repository();
  let names = await repository.snapshotNames();
  if (source !== undefined) {
    const wanted = new Set(matchingSources(source, names).map(formatSource));
    if (wanted.size === 0)
      throw new VolbakError('SNAPSHOT_NOT_FOUND', `there are no snapshots of '${source}'`);
    names = names.filter((name) => wanted.has(formatSource(name.source)));
  }
  const manifests: Manifest[] = [];
  for (const name of names) {
    try {
      manifests.push(await repository.manifest(name));
    } catch (error) {
      runtime.signal.throwIfAborted();
      runtime.output.emit({
        event: 'warning',
        message: `snapshot ${name.id} cannot be read: ${(error as Error).message}`,
      });
    }
  }
  return manifests;
}

function describe(m: Manifest): object {
  return {
    id: m.id,
    source: `${m.source.host}/${m.source.kind}/${m.source.name}`,
    started: m.started,
    finished: m.finished,
    status: m.status,
    parent: m.parents[0] ?? null,
    tags: m.tags,
    volumes: m.volumes.map(({ name, destinations, entries, tarBytes, newBytes, storedBytes, digest }) => ({
      name,
      destination: destinations[0] ?? null,
      entries,
      tarBytes,
      newBytes,
      storedBytes,
      digest,
    })),
  };
}

function row(m: Manifest): string[] {
  const sum = (key: 'tarBytes' | 'storedBytes') =>
    formatBytes(m.volumes.reduce((total, v) => total + v[key], 0));
  return [
    m.id,
    `${m.source.host}/${m.source.kind}/${m.source.name}`,
    m.started.replace('T', ' ').replace(/\.\d+Z$/, 'Z'),
    m.status,
    m.volumes.map((v) => (v.anonymous ? `${v.name.slice(0, 12)}…` : v.name)).join(', '),
    sum('tarBytes'),
    sum('storedBytes'),
    Object.entries(m.tags)
      .map(([key, value]) => `${key}=${value}`)
      .join(' '),
  ];
}
