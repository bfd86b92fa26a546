import { type SnapshotName, timeOfId } from '../../repository/keys.ts';
import { formatSource } from '../../repository/references.ts';
import type { Repository } from '../../repository/repository.ts';
import { type Check, examine, type Patient } from '../doctor/doctor.ts';

/** A source of this node, and its newest snapshot. */
export interface NodeSource {
  /** `<kind>/<name>` */
  source: string;
  snapshot: string;
  started: string;
  /** Null where this machine cannot read the repository. */
  status: 'complete' | 'partial' | null;
}

/** What `volbak fleet status` asks of each node. */
export interface NodeStatus {
  node: string | null;
  version: string;
  checks: Check[];
  sources: NodeSource[];
}

/** Examines this node, and finds the newest snapshot of each of its sources. */
export async function nodeStatus(patient: Patient, version: string): Promise<NodeStatus> {
  const checks = await examine(patient);
  const failed = (name: string) => checks.some((check) => check.name === name && check.state === 'failed');
  const node = failed('engine') ? null : (await patient.connect()).info.name;
  const readable = node !== null && !failed('repository');
  return { node, version, checks, sources: readable ? await sourcesOf(node, patient) : [] };
}

async function sourcesOf(node: string, patient: Patient): Promise<NodeSource[]> {
  const repository = await patient.repository().catch(() => undefined);
  if (!repository) return [];
  const own = (await repository.snapshotNames()).filter(({ source }) => source.host === node);
  // Oldest first: the last one of each source stays.
  const newest = new Map(own.map((name) => [formatSource(name.source), name]));
  const sources: NodeSource[] = [];
  for (const name of newest.values()) sources.push(await describe(repository, name));
  return sources;
}

async function describe(repository: Repository, name: SnapshotName): Promise<NodeSource> {
  const manifest = await repository.manifest(name).catch(() => undefined);
  return {
    source: `${name.source.kind}/${name.source.name}`,
    snapshot: name.id,
    started: manifest?.started ?? timeOfId(name.id).toISOString(),
    status: manifest?.status ?? null,
  };
}
