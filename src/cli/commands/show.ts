import type { Command } from 'commander';
import { formatBytes, plural } from '../../core/units.ts';
import type { Manifest } from '../../repository/manifest.ts';
import type { Register } from '../program.ts';
import { describeVolume, openSnapshot } from '../references.ts';
import type { Runtime } from '../runtime.ts';

export function define(program: Command, register: Register): void {
  const command = program
    .command('show')
    .description('all about one snapshot')
    .argument('<ref>', 'snapshot: an id, a source, latest, <source>@<date>');
  register(command, async (runtime, [reference = '']) => {
    const { manifest } = await openSnapshot(runtime, reference);
    runtime.output.document({ ...manifest, volumes: manifest.volumes.map(withoutIndex) });
    if (!runtime.output.json) print(runtime, manifest);
    return 0;
  });
}

/** Where frames lie is for volbak, not for people. */
function withoutIndex({ index: _, suspects, ...volume }: Manifest['volumes'][number]): object {
  return { ...volume, suspects: suspects.length };
}

function print({ output }: Runtime, m: Manifest): void {
  const fields: [string, string | undefined][] = [
    ['snapshot', m.id],
    ['source', `${m.source.host}/${m.source.kind}/${m.source.name}`],
    ['image', m.source.image],
    ['compose', m.source.composeProject && `${m.source.composeProject}/${m.source.composeService ?? ''}`],
    ['started', m.started],
    ['finished', m.finished],
    ['status', m.status],
    ['parents', m.parents.join(', ') || undefined],
    [
      'tags',
      Object.entries(m.tags)
        .map(([key, value]) => `${key}=${value}`)
        .join(' ') || undefined,
    ],
    ['signed by', m.signature?.key],
    ['made by', `${m.tool}, ${m.helperTar}, engine ${m.engine.name} ${m.engine.version}`],
  ];
  for (const [key, value] of fields) if (value) output.line(`${key.padEnd(10)}${value}`);
  for (const v of m.volumes) {
    output.line('');
    output.line(`volume    ${describeVolume(v)}`);
    if (v.subpath !== undefined) output.line(`          the container sees only ${v.subpath} of it`);
    const options = Object.entries(v.driverOpts)
      .map(([key, value]) => `${key}=${value}`)
      .join(' ');
    output.line(`  driver    ${v.driver}${options === '' ? '' : `  ${options}`}`);
    const labels = Object.entries(v.labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(' ');
    if (labels !== '') output.line(`  labels    ${labels}`);
    const left = [
      v.sockets > 0 ? plural(v.sockets, 'socket') : '',
      v.excluded > 0 ? `${v.excluded} excluded` : '',
    ].filter((s) => s !== '');
    output.line(
      `  content   ${plural(v.entries, 'file')}, ${formatBytes(v.tarBytes)}${left.length > 0 ? `; left out: ${left.join(', ')}` : ''}`,
    );
    output.line(`  stored    ${formatBytes(v.newBytes)} new, ${formatBytes(v.storedBytes)} compressed`);
    output.line(`  digest    ${v.digest}`);
  }
  for (const w of m.warnings)
    output.line(`warning: ${[w.volume, w.path, w.message].filter((part) => part !== undefined).join(': ')}`);
  for (const { type, destination } of m.leftOut) output.line(`left out: ${type} at ${destination}`);
}
