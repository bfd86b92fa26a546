import { unknownName } from '../core/yaml-file.ts';
import type { ActionOptions } from './actions.ts';
import {
  KEEP_LABELS,
  LABEL_NAMES,
  LABEL_PREFIX,
  type LabelOptions,
  type LabelsConfig,
} from './label-options.ts';
import { readLabels } from './label-values.ts';
import type { ScheduleCheck } from './load.ts';
import { translateOffen } from './offen.ts';
import { type ConfigFile, HOOK_TIMEOUT, type JobConfig } from './schema.ts';

/** A container as its engine lists it. */
export interface ListedContainer {
  name: string;
  labels: Readonly<Record<string, string>>;
  /** Names of the volumes that it mounts. */
  volumes: readonly string[];
  /** Whether it has bind mounts. */
  binds: boolean;
}

/** What can be done by the recipes that a label may name. */
export type KnownRecipes = ReadonlyMap<string, { capture?: string; drill: boolean }>;

export interface LabelContext {
  /** The engine's name, which sources begin with. */
  engine: string;
  recipes: KnownRecipes;
  checkSchedule: ScheduleCheck;
}

/** What labels come to. */
export interface LabelJobs {
  jobs: Record<string, JobConfig>;
  /** What a job works on besides what its options say. */
  claims: Record<string, string[]>;
  /** What is wrong with labels, by container. */
  problems: { container: string; message: string }[];
}

const DEFAULT_SCHEDULE = '@daily';
export const PRUNE_JOB = 'labels:prune';

/**
 * Jobs of containers with labels. Labels that are wrong are told and left out; then nothing of that container is forgotten,
 * as a rule may be missing. Pure; raises nothing.
 */
export function labelJobs(
  config: ConfigFile,
  containers: readonly ListedContainer[],
  context: LabelContext,
): LabelJobs {
  const all: LabelJobs = { jobs: {}, claims: {}, problems: [] };
  const { labels } = config;
  if (!labels?.enable) return all;
  for (const container of containers.filter((one) => inScope(labels, one))) {
    const { problems, jobs } = new ContainerJobs(config, labels, container, context);
    for (const message of problems) all.problems.push({ container: container.name, message });
    for (const [name, job] of Object.entries(jobs)) {
      all.jobs[name] = job;
      if (job.backup || job.handle) all.claims[name] = volumeClaims(config, job, container);
    }
  }
  const forgets = Object.values(all.jobs).some((job) => job.forget);
  if (labels.prune !== undefined && forgets)
    all.jobs[PRUNE_JOB] = { prune: {}, schedule: labels.prune, ...repositoryOf(labels.repository) };
  return all;
}

/** Two containers may share a volume. */
function volumeClaims({ defaults }: ConfigFile, { host }: JobConfig, { volumes }: ListedContainer): string[] {
  return volumes.map((volume) => `${host ?? defaults.host ?? ''}|volume/${volume}`);
}

const repositoryOf = (name: unknown) => (name === undefined ? {} : { repository: name as string });

/** Compose names the container that it is about to replace, or the new one, like this for a moment. */
const REPLACED = /^[0-9a-f]{12}_/;

/** Whether a container is one of those that are meant. */
function inScope({ project, filter }: LabelsConfig, { name, labels }: ListedContainer): boolean {
  const own = labels['com.docker.compose.project'];
  if (own !== undefined && REPLACED.test(name)) return false;
  if (project !== undefined && (own === undefined || ![project].flat().includes(own))) return false;
  return [filter ?? []].flat().every((condition) => {
    const equals = condition.indexOf('=');
    if (equals < 0) return labels[condition] !== undefined;
    return labels[condition.slice(0, equals)] === condition.slice(equals + 1);
  });
}

/** The jobs of one container. */
class ContainerJobs {
  readonly problems: string[];
  readonly jobs: Record<string, JobConfig> = {};
  readonly #config: ConfigFile;
  readonly #container: ListedContainer;
  readonly #context: LabelContext;
  readonly #options: LabelOptions;
  /** A task of a Swarm has another name each time; its volumes keep theirs. */
  readonly #task: string | undefined;

  constructor(config: ConfigFile, defaults: LabelsConfig, container: ListedContainer, context: LabelContext) {
    this.#config = config;
    this.#container = container;
    this.#context = context;
    this.#task = container.labels['com.docker.swarm.task.name']?.replace(/\.[^.]*$/, '');
    const translated = translateOffen(defaults.offen, container.labels);
    const { enable, options, problems } = readLabels(translated.labels);
    problems.push(...translated.problems);
    this.problems = problems;
    this.#options = merged(defaults, options);
    if (enable === undefined && (problems.length > 0 || Object.keys(options).length > 0))
      problems.push(`it has no label ${LABEL_PREFIX}enable=true: nothing backs it up`);
    if (enable && this.#possible()) this.#add(defaults.host);
  }

  /** Whether there is something to back up, and somewhere to. */
  #possible(): boolean {
    const { volumes, binds } = this.#container;
    if (volumes.length === 0 && !(binds && this.#options['include-binds'])) {
      this.problems.push(
        binds
          ? `it has bind mounts, but no volumes: ${LABEL_PREFIX}include-binds=true backs them up`
          : 'it has no volumes: there is nothing to back up',
      );
      return false;
    }
    const known = Object.keys(this.#config.repositories);
    const name = (this.#options.repository ?? this.#config.defaults.repository) as string | undefined;
    if (name !== undefined && !known.includes(name)) {
      this.problems.push(`label ${LABEL_PREFIX}repository: ${unknownName('repository', name, known)}`);
      return false;
    }
    if (name === undefined && known.length > 1) {
      this.problems.push(
        `it must say which ${LABEL_PREFIX}repository, as there are several: ${known.join(', ')}`,
      );
      return false;
    }
    return true;
  }

  #add(host: string | undefined): void {
    const base = this.#task ?? this.#container.name;
    const { repository, timezone, jitter, overlap, missed, silence } = this.#options;
    const where = { ...repositoryOf(repository), ...defined({ host }) };
    const manners = { ...where, ...defined({ timezone, jitter, overlap, missed, silence }) } as JobConfig;
    const { action, sources } = this.#snapshots();
    const backup = `${base}:backup`;
    this.jobs[backup] = { ...action, schedule: this.#schedule(), ...manners, ...this.#hooks() };
    const verify = this.#after('verify', backup);
    if (verify) this.jobs[`${base}:verify`] = { verify: { snapshots: sources }, ...verify, ...where };
    const drill = this.#after('drill', backup);
    if (drill)
      for (const job of this.#drill(sources)) this.jobs[`${base}:drill`] = { ...job, ...drill, ...where };
    const keep = pick(this.#options, KEEP_LABELS);
    // A rule that is wrong would be missing among the others, and what it keeps would be forgotten.
    if (Object.keys(keep).length > 0 && this.problems.length === 0)
      this.jobs[`${base}:forget`] = {
        forget: { ...keep, source: sources, ...defined({ timezone }) },
        after: backup,
        ...where,
      };
  }

  #hooks(): Pick<JobConfig, 'hooks'> {
    const { before, after } = this.#options;
    if (before === undefined && after === undefined) return {};
    const users = defined({
      'before-user': this.#options['before-user'],
      'after-user': this.#options['after-user'],
    });
    const hooks = {
      container: this.#container.name,
      timeout: HOOK_TIMEOUT,
      ...defined({ before, after }),
      ...users,
    };
    return { hooks: hooks as NonNullable<JobConfig['hooks']> };
  }

  /** What makes the snapshots, and of which sources they are. */
  #snapshots(): { action: JobConfig; sources: string[] } {
    const { engine } = this.#context;
    const { name, volumes } = this.#container;
    const recipe = this.#recipe();
    const quiesce = pick(this.#options, ['stop', 'pause', 'tag']);
    if (recipe !== undefined)
      return {
        action: { handle: { container: name, recipe: recipe.name, ...quiesce } },
        sources: [`${engine}/container/${name}:${recipe.capture}`],
      };
    const more = pick(this.#options, ['exclude', 'full']);
    if (this.#task === undefined)
      return {
        action: {
          backup: {
            containers: [name],
            ...quiesce,
            ...more,
            ...pick(this.#options, ['only', 'include-binds']),
          },
        },
        sources: [`${engine}/container/${name}`],
      };
    return {
      action: { backup: { volume: [...volumes], ...quiesce, ...more } },
      sources: volumes.map((volume) => `${engine}/volume/${volume}`),
    };
  }

  /** A recipe that captures; one that does not makes no snapshot, so the files are backed up in its place. */
  #recipe(): { name: string; capture: string } | undefined {
    const name = this.#options.recipe as string | undefined;
    const known = name === undefined ? undefined : this.#context.recipes.get(name);
    if (name === undefined) return undefined;
    if (known?.capture !== undefined) return { name, capture: known.capture };
    const capturing = [...this.#context.recipes].filter(([, { capture }]) => capture !== undefined);
    this.problems.push(
      `label ${LABEL_PREFIX}recipe: ${
        known
          ? `recipe '${name}' makes no dump`
          : unknownName(
              'recipe',
              name,
              capturing.map(([other]) => other),
            )
      }; its files are backed up`,
    );
    return undefined;
  }

  #schedule(): string {
    const schedule = (this.#options.schedule ?? DEFAULT_SCHEDULE) as string;
    return this.#checked('schedule', schedule) ? schedule : DEFAULT_SCHEDULE;
  }

  #checked(label: string, schedule: string): boolean {
    const zone = (this.#options.timezone ?? this.#config.defaults.timezone) as string | undefined;
    const wrong = this.#context.checkSchedule(schedule, zone);
    if (wrong !== undefined) this.problems.push(`label ${LABEL_PREFIX}${label}=${schedule}: ${wrong}`);
    return wrong === undefined;
  }

  /** When something besides the backup is done: each time after it, unless by a schedule. */
  #after(name: 'verify' | 'drill', backup: string): Pick<JobConfig, 'after' | 'schedule'> | undefined {
    const when = this.#options[name];
    if (when === undefined || when === false) return undefined;
    if (when === true || !this.#checked(name, when as string)) return { after: backup };
    return { schedule: when as string };
  }

  /** A drill is of one snapshot, so a container's own. */
  #drill([source = '', ...others]: readonly string[]): JobConfig[] {
    const recipe = this.#options['drill-recipe'] as string | undefined;
    if (others.length > 0) {
      this.problems.push(
        `label ${LABEL_PREFIX}drill: a task of a Swarm with several volumes cannot be drilled`,
      );
      return [];
    }
    const drilling = [...this.#context.recipes].filter(([, { drill }]) => drill).map(([name]) => name);
    if (recipe === undefined || drilling.includes(recipe))
      return [{ drill: { snapshot: source, ...defined({ recipe }) } }];
    this.problems.push(`label ${LABEL_PREFIX}drill-recipe: ${unknownName('recipe', recipe, drilling)}`);
    return [{ drill: { snapshot: source } }];
  }
}

/** What a container says counts before the defaults; `stop` of one is not joined with `pause` of the other. */
function merged(defaults: LabelsConfig, own: LabelOptions): LabelOptions {
  const { stop, pause, ...others } = pick(defaults, LABEL_NAMES);
  const quiesce = own.stop === true || own.pause === true ? {} : defined({ stop, pause });
  return { ...others, ...quiesce, ...own };
}

function pick(options: LabelOptions, names: readonly (keyof LabelOptions)[]): LabelOptions & ActionOptions {
  return Object.fromEntries(
    names.filter((name) => options[name] !== undefined).map((name) => [name, options[name]]),
  );
}

function defined<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>;
}
