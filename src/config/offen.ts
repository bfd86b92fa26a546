import { nearest } from '../core/nearest.ts';
import { shellWords } from '../core/shell-words.ts';
import { LABEL_PREFIX, type LabelsConfig } from './label-options.ts';

/** What begins the labels of offen/docker-volume-backup. */
const PREFIX = 'docker-volume-backup.';

/** Hooks of phases that there are not here: what is read is stored, encrypted and pruned in one way. */
const OTHER_PHASE = /^(?:process|copy|prune)-(?:pre|post)(?:\.user)?$/;
const KNOWN = [
  'stop-during-backup',
  'stop-during-backup-no-restart',
  'archive-pre',
  'archive-pre.user',
  'archive-post',
  'archive-post.user',
  'exec-label',
];

export interface Translated {
  labels: Record<string, string>;
  problems: string[];
}

/** Labels of offen/docker-volume-backup as ours, where they were asked for; ours of the same container count before them. */
export function translateOffen(
  offen: LabelsConfig['offen'],
  labels: Readonly<Record<string, string>>,
): Translated {
  const found = Object.fromEntries(
    Object.entries(labels)
      .filter(([label]) => label.startsWith(PREFIX))
      .map(([label, value]) => [label.slice(PREFIX.length), value]),
  );
  if (!offen || Object.keys(found).length === 0) return { labels: { ...labels }, problems: [] };
  const groups = offen === true ? {} : offen;
  const translation = new Translation(found);
  if (found['stop-during-backup'] === (groups.stop ?? 'true')) translation.set('stop', 'true');
  if (groups.exec === undefined || found['exec-label'] === groups.exec) translation.hooks();
  translation.complain();
  return { labels: { ...translation.labels, ...labels }, problems: translation.problems };
}

class Translation {
  readonly labels: Record<string, string> = {};
  readonly problems: string[] = [];
  readonly #found: Readonly<Record<string, string>>;

  constructor(found: Readonly<Record<string, string>>) {
    this.#found = found;
  }

  /** A label that is used asks for a backup. */
  set(name: string, value: string): void {
    this.labels[`${LABEL_PREFIX}enable`] = 'true';
    this.labels[`${LABEL_PREFIX}${name}`] = value;
  }

  hooks(): void {
    for (const [phase, name] of [
      ['pre', 'before'],
      ['post', 'after'],
    ] as const) {
      // The latter is what it was called at first.
      const label = this.#found[`archive-${phase}`] === undefined ? `exec-${phase}` : `archive-${phase}`;
      const command = this.#found[label];
      if (command === undefined) continue;
      const words = shellWords(command);
      if (words === undefined || words.length === 0) {
        this.problems.push(`label ${PREFIX}${label}=${command}: it is no command`);
        continue;
      }
      this.set(name, JSON.stringify(words));
      const user = this.#found[`${label}.user`];
      if (user !== undefined) this.set(`${name}-user`, user);
    }
  }

  complain(): void {
    for (const label of Object.keys(this.#found)) {
      if (label === 'stop-during-backup-no-restart')
        this.problems.push(`label ${PREFIX}${label}: what volbak stops it starts again; it is not stopped`);
      else if (OTHER_PHASE.test(label))
        this.problems.push(`label ${PREFIX}${label}: there is no such moment here, and it is not run`);
      else if (!KNOWN.includes(label) && !/^exec-(?:pre|post)(?:\.user)?$/.test(label)) {
        const meant = nearest(label, KNOWN);
        const hint = meant === undefined ? '' : `; did you mean '${PREFIX}${meant}'?`;
        this.problems.push(`unknown label '${PREFIX}${label}'${hint}`);
      }
    }
  }
}
