import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { TreeSize } from './data/tree.ts';
import { Leftovers } from './leftovers.ts';
import { type Measured, median } from './measure.ts';
import type { Verdict } from './targets.ts';
import type { Bench, Source } from './tools/tool.ts';

type Case = 'tar' | 'migrate' | 'changing' | 'backup' | 'changingBackup' | 'restore' | 'drill';

const TITLES: Record<Case, string> = {
  tar: '`docker run … tar -c | docker run -i … tar -x`, from one engine to the other',
  migrate: '`volbak migrate` of a volume that nobody uses',
  changing: '`volbak migrate` of a running container, 1 % of the files written anew after the live pass',
  backup: '`volbak backup --full`, a new repository',
  changingBackup: '`volbak backup --stop`, 1 % of the files written anew after the live pass',
  restore: '`volbak restore`',
  drill: '`volbak drill`, its check is `true`',
};

/** In the running container, between the live pass and the stop: writes 1 % of the files anew. */
const CHANGE = `while IFS= read -r -d '' f; do head -c "$(stat -c %s "$f")" /dev/urandom >"$f"; done </bench/list`;
const AROUND = `about: changes 1 % of the files before the stop
backup:
  hooks:
    before: [{ command: [bash, /bench/change.sh], timeout: 10m }]
drill:
  image: toolbox
  command: sleep 600
  check: { command: "true" }
`;

export interface MigrateFigures {
  lines: string[];
  verdicts: Verdict[];
}

/** Copies between two engines, how long containers stand still, and drills. */
export class MigrateCases {
  readonly #bench: Bench;
  readonly #other: Bench;
  readonly #source: Source;
  readonly #launcher: string;
  readonly #recipe: string;
  readonly #leftovers: Leftovers;
  readonly #bytes: number;
  #targets = 0;
  readonly #seconds = new Map<Case, number[]>();
  /** How long containers stood still, in seconds. */
  readonly #down = new Map<Case, number[]>();

  /** `source` is a volume of so many bytes on the engine of `bench`; `other` is the engine to migrate to. */
  constructor(
    bench: Bench,
    other: Bench,
    { source, bytes }: { source: Source; bytes: number },
    launcher: string,
  ) {
    this.#bench = bench;
    this.#leftovers = new Leftovers(bench.work);
    this.#bytes = bytes;
    this.#other = other;
    this.#source = source;
    this.#launcher = launcher;
    const directory = path.join(bench.work, 'migrate');
    mkdirSync(directory);
    this.#recipe = path.join(directory, 'around.yaml');
    writeFileSync(this.#recipe, AROUND);
    writeFileSync(path.join(directory, 'change.sh'), CHANGE);
    const list = "find \"$1\" -type f -printf '/data/%P\\0' | LC_ALL=C sort -z | sed -z -n '1~100p'";
    const names = execFileSync('bash', ['-c', list, 'bash', source.directory], { maxBuffer: 1 << 30 });
    writeFileSync(path.join(directory, 'list'), names);
    bench.docker(
      'create',
      '--name',
      'bench-app',
      '-v',
      `${source.volume}:/data`,
      '-v',
      `${directory}:/bench`,
      ...['--network', 'none', '--stop-signal', 'KILL', 'toolbox', 'sleep', '100000'],
    );
  }

  /** A name for a volume on the other engine; it is removed in the end. */
  #target(name: string): string {
    const volume = `bench-${name}-${++this.#targets}`;
    this.#leftovers.add(() => this.#other.docker('volume', 'rm', volume));
    return volume;
  }

  async round(): Promise<void> {
    // Three copies there, one here, one that a drill makes and removes.
    await this.#leftovers.makeRoom(5.5 * this.#bytes);
    const { volume } = this.#source;
    const [tarred, moved, changed] = ['tarred', 'moved', 'changed'].map((name) => this.#target(name));
    const tar = 'run --rm --log-driver none --network none';
    const pipe = `docker -H "$A" ${tar} -v "$V:/data:ro" toolbox tar -c --numeric-owner -C /data . |
      docker -H "$B" ${tar} -i -v "$T:/data" toolbox tar -x -p --numeric-owner -C /data`;
    // Finding or making the helper image there is not what is measured.
    await this.#call(this.#other.host, 'helper');
    const env = { A: this.#bench.host, B: this.#other.host, V: volume, T: `${tarred}` };
    this.#other.docker('volume', 'create', `${tarred}`);
    await this.#take('tar', () => this.#bench.timed('bash', ['-o', 'pipefail', '-c', pipe], { env }));
    const to = (target = '') => ['--to-host', this.#other.host, '--rename', `${volume}=${target}`];
    await this.#volbak('migrate', 'migrate', volume, ...to(moved));
    this.#bench.docker('start', 'bench-app');
    await this.#volbak('changing', 'migrate', 'bench-app', ...to(changed), '--recipe', this.#recipe);
    await this.#stores();
    this.#bench.docker('kill', 'bench-app');
  }

  async #stores(): Promise<void> {
    rmSync(this.#repository, { recursive: true, force: true });
    await this.#volbak('backup', 'backup', 'bench-app', '--full');
    await this.#volbak('changingBackup', 'backup', 'bench-app', '--stop', '--recipe', this.#recipe);
    const back = `bench-back-${++this.#targets}`;
    await this.#volbak('restore', 'restore', 'bench-app', '--to-volume', back);
    this.#leftovers.add(() => this.#bench.docker('volume', 'rm', back));
    await this.#volbak('drill', 'drill', 'bench-app', '--recipe', this.#recipe);
  }

  get #repository(): string {
    return path.join(this.#bench.work, 'migrate-repository');
  }

  async #volbak(name: Case, ...args: string[]): Promise<void> {
    const { stdout } = await this.#take(name, () => this.#call(this.#bench.host, ...args));
    const ms = downtimeOf(stdout);
    if (ms !== undefined) note(this.#down, name, ms / 1000);
  }

  #call(host: string, ...args: string[]): Promise<Measured> {
    const { work, timed } = this.#bench;
    const env = { XDG_STATE_HOME: path.join(work, 'state'), XDG_CACHE_HOME: path.join(work, 'cache') };
    const all = ['--no-progress', '--json', '-H', host, '--repo', this.#repository, ...args];
    return timed(this.#launcher, all, { env });
  }

  async #take(name: Case, work: () => Promise<Measured>): Promise<Measured> {
    execFileSync('sync');
    const measured = await work();
    note(this.#seconds, name, measured.seconds);
    return measured;
  }

  close(): void {
    this.#leftovers.removeAll();
    this.#bench.docker('rm', 'bench-app');
  }

  figures(size: TreeSize): MigrateFigures {
    const seconds = (name: Case) => median(this.#seconds.get(name) ?? []);
    const down = (name: Case) => median(this.#down.get(name) ?? []);
    const rows = (Object.keys(TITLES) as Case[]).map((name) => {
      const stood = this.#down.has(name) ? `${down(name).toFixed(2)} s` : '';
      return `| ${TITLES[name]} | ${seconds(name).toFixed(2)} s | ${stood} |`;
    });
    return {
      lines: [
        `## Migration, downtime and drills: ${(size.bytes / 1e9).toFixed(2)} GB in ${size.files.toLocaleString('en')} files`,
        '',
        '| command | median | downtime |',
        '|---|---|---|',
        ...rows,
        '',
      ],
      verdicts: [
        most('migration', 'tar from engine to engine', seconds('migrate') / seconds('tar'), 1.2),
        most(
          'migration: downtime, 1 % changing',
          'tar from engine to engine',
          down('changing') / seconds('tar'),
          0.2,
        ),
        most(
          'backup --stop: downtime, 1 % changing',
          'a full backup',
          down('changingBackup') / seconds('backup'),
          0.2,
        ),
        most('drill', 'restore', seconds('drill') / seconds('restore'), 1.3),
      ],
    };
  }
}

function note<K>(to: Map<K, number[]>, key: K, value: number): void {
  to.set(key, [...(to.get(key) ?? []), value]);
}

function most(what: string, against: string, ratio: number, limit: number): Verdict {
  return {
    what,
    against,
    needed: `at most ${limit} times`,
    reached: `${ratio.toFixed(2)} times`,
    met: ratio <= limit,
  };
}

/** Milliseconds of the summary's; undefined where there is none. */
function downtimeOf(stdout: string): number | undefined {
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const summary = lines.find(({ event }) => event === 'summary');
  return summary?.downtimeMs ?? summary?.snapshots?.[0]?.downtimeMs;
}
