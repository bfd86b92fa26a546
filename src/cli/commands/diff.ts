import type { Command } from 'commander';
import { printable } from '../../core/bytes.ts';
import type { Register } from '../program.ts';
import { openSnapshot, withFetch } from '../references.ts';

const MARKS = { added: '+', removed: '-', changed: 'M' } as const;

export function define(program: Command, register: Register): void {
  const command = program
    .command('diff')
    .description('what changed from one snapshot to another')
    .argument('<a>', 'the older snapshot')
    .argument('<b>', 'the newer snapshot');
  register(command, async (runtime, [a = '', b = '']) => {
    const before = await openSnapshot(runtime, a);
    const after = await openSnapshot(runtime, b);
    const { diffMembers } = await import('../../jobs/diff/diff.ts');
    const { readMembers } = await import('../../repository/index-reader.ts');
    const names = new Set([...before.manifest.volumes, ...after.manifest.volumes].map((v) => v.name));
    const documents: object[] = [];
    await withFetch(runtime, after.repository, async (fetch) => {
      for (const name of names) {
        const [left, right] = [before, after].map(
          ({ manifest }) => manifest.volumes.find((v) => v.name === name)?.index ?? [],
        );
        for await (const { kind, path, fields } of diffMembers(
          readMembers(left ?? [], fetch),
          readMembers(right ?? [], fetch),
        )) {
          if (runtime.output.json) documents.push({ volume: name, kind, path: printable(path), fields });
          const place = names.size > 1 ? `${name}: ` : '';
          runtime.output.line(
            `${MARKS[kind]} ${place}${printable(path)}${fields.length > 0 ? `  (${fields.join(', ')})` : ''}`,
          );
        }
      }
    });
    runtime.output.document(documents);
    return 0;
  });
}
