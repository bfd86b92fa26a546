import { planAttachment } from '../../engine/attachment.ts';
import type { ResolvedSource } from '../../engine/source.ts';
import type { EngineContext } from '../engine-context.ts';
import { listVolume } from '../read/list.ts';
import { excludeGlobs } from './exclude.ts';

export interface PlannedSource {
  source: string;
  volumes: {
    name: string;
    destinations: string[];
    entries: number;
    bytes: number;
    excluded: number;
    sockets: number;
  }[];
}

/** What a backup would read, without reading it. */
export async function planBackup(
  ctx: EngineContext,
  sources: readonly ResolvedSource[],
  exclude: readonly string[],
): Promise<PlannedSource[]> {
  const planned: PlannedSource[] = [];
  for (const source of sources) {
    const attachment = planAttachment(source, source.volumes);
    const volumes: PlannedSource['volumes'] = [];
    for (const { name, destinations } of source.volumes) {
      const out = excludeGlobs(exclude);
      const { spool, bytes, excluded, sockets } = await listVolume(
        ctx,
        attachment,
        attachment.paths.get(name) as string,
        out ? { exclude: out } : {},
      );
      volumes.push({ name, destinations, entries: spool.count, bytes, excluded, sockets });
    }
    planned.push({ source: `${ctx.engine.info.name}/${source.kind}/${source.name}`, volumes });
  }
  return planned;
}
