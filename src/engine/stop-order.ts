/** What of a running container says whom it needs. */
export interface RunningContainer {
  id: string;
  name: string;
  labels: Readonly<Record<string, string>>;
  /** Its network, pid and ipc mode: `container:<id or name>` where it shares another one's. */
  modes: readonly string[];
}

const PROJECT = 'com.docker.compose.project';
const SERVICE = 'com.docker.compose.service';
const DEPENDS_ON = 'com.docker.compose.depends_on';

/**
 * The chosen containers (by id) and those that share a namespace of one of them, in an order in which they can be stopped:
 * who needs another one (Compose's depends_on, a shared network, pid or ipc namespace) goes before that one, also where
 * what is between them is not chosen. Started they are in the opposite order. Circles are cut where the names' order says.
 */
export function stopOrder<T extends RunningContainer>(all: readonly T[], chosen: ReadonlySet<string>): T[] {
  const byName = [...all].sort((a, b) => (a.name < b.name ? -1 : 1));
  const start: T[] = [];
  const seen = new Set<T>();
  const visit = (container: T): void => {
    if (seen.has(container)) return;
    seen.add(container);
    for (const needed of neededBy(container, byName)) visit(needed);
    start.push(container);
  };
  for (const container of byName) visit(container);
  const wanted = withSharers(byName, chosen);
  return start.filter(({ id }) => wanted.has(id)).reverse();
}

/** A container without the one whose namespace it shares has no network any more, or is dead. */
function withSharers(all: readonly RunningContainer[], chosen: ReadonlySet<string>): Set<string> {
  const wanted = new Set(chosen);
  for (let before = -1; before !== wanted.size; ) {
    before = wanted.size;
    for (const container of all)
      if (sharedBy(container, all).some(({ id }) => wanted.has(id))) wanted.add(container.id);
  }
  return wanted;
}

function neededBy<T extends RunningContainer>(container: T, all: readonly T[]): T[] {
  const project = container.labels[PROJECT];
  const services = servicesOf(container.labels[DEPENDS_ON] ?? '');
  const depended = all.filter(
    ({ labels }) =>
      project !== undefined && labels[PROJECT] === project && services.includes(labels[SERVICE] ?? ''),
  );
  return [...depended, ...sharedBy(container, all)];
}

/** "db:service_healthy:true,cache:service_started:false" names db and cache. */
function servicesOf(label: string): string[] {
  return label
    .split(',')
    .map((part) => (part.split(':')[0] as string).trim())
    .filter((name) => name !== '');
}

function sharedBy<T extends RunningContainer>(container: T, all: readonly T[]): T[] {
  const owners = container.modes
    .filter((mode) => mode.startsWith('container:'))
    .map((mode) => mode.slice('container:'.length));
  return all.filter(({ id, name }) => owners.some((owner) => owner === name || isId(id, owner)));
}

/** The engine keeps whole ids; what was given may be the beginning of one. */
function isId(id: string, reference: string): boolean {
  return reference.length >= 12 && id.startsWith(reference);
}
