import type { Command } from 'commander';
import { fromText, printable, toText } from '../../core/bytes.ts';
import { VolbakError } from '../../core/errors.ts';
import type { IndexMember } from '../../core/member.ts';
import { isWithin, normalisePath } from '../../tar/names.ts';
import { collect } from '../options.ts';
import type { Register } from '../program.ts';
import { describeVolume, openSnapshot, withFetch } from '../references.ts';

export function define(program: Command, register: Register): void {
  const command = program
    .command('ls')
    .description('files of a snapshot')
    .argument('<ref>', 'snapshot')
    .argument('[path]', 'only this path in its volumes and what is below it')
    .option('--volume <name>', 'only of this volume (repeatable)', collect, []);
  register(command, async (runtime, [reference = '', path], options) => {
    const { repository, manifest } = await openSnapshot(runtime, reference);
    const { chooseVolumes } = await import('../../jobs/restore/targets.ts');
    const { readMembers } = await import('../../repository/index-reader.ts');
    const volumes = chooseVolumes(manifest, options.volume as unknown as string[]);
    const wanted = path === undefined ? '.' : normalisePath(fromText(path.replace(/^\/+/, '') || '.'));
    const documents: object[] = [];
    let found = 0;
    await withFetch(runtime, repository, async (fetch) => {
      for (const volume of volumes) {
        let heading = volumes.length > 1 ? `${describeVolume(volume)}:` : undefined;
        for await (const member of readMembers(volume.index, fetch)) {
          if (!isWithin(member.path, wanted)) continue;
          found++;
          if (heading !== undefined) runtime.output.line(heading);
          heading = undefined;
          if (runtime.output.json) documents.push(describe(volume.name, member));
          else runtime.output.line(formatMember(member));
        }
      }
    });
    if (found === 0)
      throw new VolbakError('SNAPSHOT_NOT_FOUND', `snapshot ${manifest.id} holds no path '${path}'`);
    runtime.output.document(documents);
    return 0;
  });
}

function describe(volume: string, { path, link, span: _, ...rest }: IndexMember): object {
  const text = toText(path);
  return {
    volume,
    ...(text === undefined ? { path64: Buffer.from(path, 'latin1').toString('base64') } : { path: text }),
    ...(link === undefined ? {} : { link: printable(link) }),
    ...rest,
  };
}

const TYPE_LETTER: Record<IndexMember['type'], string> = {
  file: '-',
  hardlink: 'h',
  dir: 'd',
  symlink: 'l',
  fifo: 'p',
  char: 'c',
  block: 'b',
};

/** One line as `ls -l` and `tar -tv` write it: mode, owner, size, time in UTC, name. */
export function formatMember(m: IndexMember): string {
  const size = m.device ?? String(m.size);
  const date = new Date(Number(m.mtime.split('.')[0]) * 1000);
  const time = Number.isNaN(date.getTime()) ? m.mtime : date.toISOString().replace('T', ' ').slice(0, 16);
  const link =
    m.link === undefined
      ? ''
      : m.type === 'symlink'
        ? ` -> ${printable(m.link)}`
        : ` link to ${printable(m.link)}`;
  return `${TYPE_LETTER[m.type]}${modeString(m.mode)} ${`${m.uid}:${m.gid}`.padStart(11)} ${size.padStart(12)} ${time} ${printable(m.path)}${link}`;
}

function modeString(mode: number): string {
  const special = [mode & 0o4000, mode & 0o2000, mode & 0o1000];
  return [6, 3, 0]
    .map((shift, i) => {
      const bits = (mode >> shift) & 7;
      const x = (bits & 1) !== 0;
      const s = special[i] ? (i === 2 ? (x ? 't' : 'T') : x ? 's' : 'S') : x ? 'x' : '-';
      return `${bits & 4 ? 'r' : '-'}${bits & 2 ? 'w' : '-'}${s}`;
    })
    .join('');
}
