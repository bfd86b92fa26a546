/**
 * What jobs can do, and how options in volbak.yaml become those of the command line. One table, so that names are the same
 * in both; test/config/config.test.ts compares it with the commands themselves.
 */
type Kind =
  | 'flag'
  /** On unless `false` is said: `--no-<name>`. */
  | 'on'
  | 'text'
  | 'texts'
  | 'pairs'
  | 'count'
  | 'duration'
  | 'size'
  | 'zone'
  /** A repository by its name in volbak.yaml, or its URL. */
  | 'repository'
  /** Arguments without a name, in this order. */
  | 'argument'
  | 'arguments';

export type OptionTable = Readonly<Record<string, readonly [Kind, about: string]>>;

const QUIESCE: OptionTable = {
  stop: ['flag', 'Stop the containers that use the volumes meanwhile.'],
  pause: ['flag', 'Pause them meanwhile.'],
};

const TAG: OptionTable = { tag: ['pairs', 'Tags for the snapshot.'] };

export const ACTIONS = {
  backup: {
    containers: ['arguments', 'Containers, running or not.'],
    volume: ['texts', 'Volumes by themselves.'],
    all: ['flag', 'Every container that has volumes.'],
    only: ['texts', 'Only these volumes of the containers: names or mount paths.'],
    exclude: ['texts', 'Leave these files out: globs.'],
    'include-binds': ['flag', 'Bind mounts too.'],
    ...QUIESCE,
    recipe: ['text', 'What to stop and to run before and after, by name or file.'],
    ...TAG,
    full: ['flag', 'Read everything.'],
    parent: ['text', 'The snapshot to take known data from.'],
  },
  handle: {
    container: ['argument', 'Whose volumes it gets.'],
    image: ['argument', 'The image; not with a recipe that has one.'],
    arguments: ['arguments', 'Arguments for the image.'],
    recipe: ['text', 'A recipe, by name or file.'],
    rw: ['flag', 'It may write into the volumes.'],
    capture: ['text', 'Keep its standard output as a snapshot with this file.'],
    env: ['pairs', 'Environment for it.'],
    'env-file': ['texts', 'Environment from files.'],
    secret: ['pairs', 'Files for it to read as /run/secrets/<name>.'],
    network: ['flag', "Share the container's network."],
    timeout: ['duration', 'Kill it after that.'],
    memory: ['size', 'Limit its memory.'],
    user: ['text', 'User in the image.'],
    ...QUIESCE,
    ...TAG,
  },
  drill: {
    snapshot: ['argument', 'An id, a source, latest, <source>@<date>.'],
    ref: ['argument', 'The same.'],
    all: ['flag', 'The newest snapshot of every source.'],
    'this-host': ['flag', "With all: only of this engine's own sources."],
    recipe: ['text', 'How to start and check it, by name or file.'],
    image: ['text', "Instead of the snapshot's image."],
    check: ['text', 'A script to be run in the service; exit code 0 passes.'],
    env: ['pairs', 'Environment of the service.'],
    'env-file': ['texts', 'Environment from files.'],
    timeout: ['duration', 'For getting healthy, and for the check.'],
    junit: ['text', 'Write a report as JUnit XML.'],
    markdown: ['text', 'Write a report as Markdown.'],
    keep: ['flag', 'Leave the volumes and the service there.'],
  },
  copy: {
    snapshots: ['arguments', 'Snapshots.'],
    refs: ['arguments', 'The same.'],
    to: ['repository', 'The other repository: its name here, or its URL.'],
    all: ['flag', 'Every snapshot that it lacks.'],
  },
  forget: {
    'keep-last': ['count', 'The newest ones.'],
    'keep-hourly': ['count', 'The last one of each of the newest hours that have any.'],
    'keep-daily': ['count', 'The same for days.'],
    'keep-weekly': ['count', 'For ISO weeks.'],
    'keep-monthly': ['count', 'For months.'],
    'keep-yearly': ['count', 'For years.'],
    'keep-within': ['duration', 'Up to this much older than the newest.'],
    'keep-tag': ['texts', 'Those with one of these tags: key or key=value.'],
    source: ['texts', 'Only of these sources.'],
    timezone: ['zone', 'Where days begin.'],
    force: ['flag', 'Also where the newest snapshot shrank by more than half.'],
  },
  prune: {
    grace: ['duration', 'How long what nothing needs stays; 24h unless told.'],
    verify: ['flag', 'First read everything, and delete only if all is whole.'],
    wait: ['flag', 'Watch sessions that look dead until it is certain.'],
    rewrite: ['on', 'Write segments anew that are mostly dead.'],
    force: ['flag', 'Also what was forgotten of sources that shrank by more than half.'],
  },
  verify: {
    snapshots: ['arguments', 'Snapshots; all where none is named.'],
    refs: ['arguments', 'The same.'],
    quick: ['flag', 'Structure only, no data is read.'],
    sample: ['text', 'n/t: part n of t of the data.'],
    repair: ['repository', 'Bring what is damaged back from this copy: its name here, or its URL.'],
  },
} as const satisfies Record<string, OptionTable>;

export type ActionName = keyof typeof ACTIONS;
export type ActionOptions = Readonly<Record<string, unknown>>;

export const ACTION_NAMES = Object.keys(ACTIONS) as ActionName[];

function words(name: string, kind: Kind, value: unknown): string[] {
  switch (kind) {
    case 'flag':
      return value === true ? [`--${name}`] : [];
    case 'on':
      return value === false ? [`--no-${name}`] : [];
    case 'texts':
      return (value as string[]).map((text) => `--${name}=${text}`);
    case 'pairs':
      return Object.entries(value as Record<string, string>).map(([key, text]) => `--${name}=${key}=${text}`);
    case 'argument':
    case 'arguments':
      return [];
    default:
      return [`--${name}=${value}`];
  }
}

/** The command line of an action; `urlOf` tells where a repository is that goes by a name. */
export function commandLineOf(
  action: ActionName,
  options: ActionOptions,
  urlOf: (nameOrUrl: string) => string,
): string[] {
  const table: OptionTable = ACTIONS[action];
  const given = Object.entries(table).filter(([name]) => options[name] !== undefined);
  const named = given.flatMap(([name, [kind]]) => {
    const value = options[name];
    return words(name, kind, kind === 'repository' ? urlOf(value as string) : value);
  });
  const bare = given.flatMap(([name, [kind]]) =>
    kind === 'argument' || kind === 'arguments' ? [options[name]].flat().map(String) : [],
  );
  // Behind `--` nothing is an option, whatever it begins with.
  return [action, ...named, ...(bare.length > 0 ? ['--', ...bare] : [])];
}
