import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

// Holds the rules of AGENTS.md on layout and imports, by scanning the sources.

const SRC = path.join(import.meta.dirname, '../src');
const FILES = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
  .sort();

/** The source without comments and without what is inside of strings that are no module names. */
function codeOf(file: string): string {
  return readFileSync(path.join(SRC, file), 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/(^|[^:'"`])\/\/.*$/gm, '$1');
}

interface Import {
  from: string;
  /** A path below src, or the name of a package. */
  to: string;
  typeOnly: boolean;
}

function importsOf(file: string): Import[] {
  const code = codeOf(file);
  const found: Import[] = [];
  const add = (module: string, typeOnly: boolean) => {
    const to = module.startsWith('.') ? path.posix.join(path.posix.dirname(file), module) : module;
    found.push({ from: file, to, typeOnly });
  };
  for (const match of code.matchAll(/^\s*(import|export)\s+(type\s)?(?:[^'";()]*?\sfrom\s+)?'([^']+)'/gm)) {
    add(match[3] as string, match[2] !== undefined);
  }
  // `typeof import('x')` is a type; `import('x')` and workerUrl(…, './x') load code.
  for (const match of code.matchAll(/(typeof\s+)?\bimport\(\s*['"`]([^'"`]+)['"`]/g)) {
    add(match[2] as string, match[1] !== undefined);
  }
  for (const match of code.matchAll(/workerUrl\([^,]+,\s*'([^']+)'/g)) add(`${match[1]}.ts`, false);
  return found;
}

const IMPORTS = FILES.flatMap(importsOf);
const OWN = IMPORTS.filter(({ to }) => existsSync(path.join(SRC, to)) && to.endsWith('.ts'));
const folderOf = (file: string) => (file.includes('/') ? (file.split('/')[0] as string) : file);
const show = ({ from, to }: Import) => `${from} -> ${to}`;

/** Own modules that a file loads as soon as it is loaded itself. */
function staticValueImports(file: string): string[] {
  return [
    ...codeOf(file).matchAll(/^\s*(?:import|export)\s+(?!type\s)(?:[^'";()]*?\sfrom\s+)?'(\.[^']+)'/gm),
  ].map((match) => path.posix.join(path.posix.dirname(file), match[1] as string));
}

/** Folders below jobs: they import themselves and core, and nothing else of ours. */
const LEAVES = ['engine', 'repository', 'tar', 'codec', 'store', 'recipes', 'schedule', 'config', 'notify'];
/** What repository may use of other folders: their interfaces, and the codec for manifests. */
const ALLOWED = new Set([
  'repository -> store/store.ts',
  'repository -> codec/pool.ts',
  'repository -> codec/zstd.ts',
]);

/** Lines of code, as `file: line`, where a pattern stands outside of comments. */
function uses(pattern: RegExp, except: (file: string) => boolean): string[] {
  return FILES.filter((file) => !except(file)).flatMap((file) =>
    codeOf(file)
      .split('\n')
      .filter((line) => pattern.test(line))
      .map((line) => `${file}: ${line.trim()}`),
  );
}

/** Imports of a package outside of the files that may. */
function packageUses(name: RegExp, mayImport: (file: string) => boolean): string[] {
  return IMPORTS.filter(({ to, from }) => name.test(to) && !mayImport(from)).map(show);
}

describe('the scan itself', () => {
  it('finds files, and resolves every relative import to one of them', () => {
    expect(FILES.length).toBeGreaterThan(40);
    const relative = IMPORTS.filter(
      ({ to }) => FILES.some((f) => folderOf(f) === folderOf(to)) && to.includes('/'),
    );
    expect(relative.length).toBeGreaterThan(80);
    expect(relative.filter(({ to }) => !existsSync(path.join(SRC, to))).map(show)).toEqual([]);
  });

  it('sees static, dynamic, type and worker imports', () => {
    const seen = OWN.map(show);
    expect(seen).toContain('tar/plan.ts -> tar/listing.ts');
    expect(seen).toContain('store/url.ts -> store/local.ts');
    expect(seen).toContain('codec/pool.ts -> codec/frame-worker.ts');
    expect(IMPORTS.map(show)).toContain('codec/zstd.ts -> zstd-codec');
  });
});

describe('who may import whom', () => {
  it('core imports nothing of ours but core', () => {
    expect(
      OWN.filter(({ from, to }) => folderOf(from) === 'core' && folderOf(to) !== 'core').map(show),
    ).toEqual([]);
  });

  it('the folders below jobs import themselves and core, and repository the interfaces of store and codec', () => {
    const wrong = OWN.filter(({ from, to }) => {
      const [a, b] = [folderOf(from), folderOf(to)];
      return LEAVES.includes(a) && a !== b && b !== 'core' && !ALLOWED.has(`${a} -> ${to}`);
    });
    expect(wrong.map(show)).toEqual([]);
  });

  it('jobs import what is below them, never cli or main', () => {
    const wrong = OWN.filter(
      ({ from, to }) => folderOf(from) === 'jobs' && !['jobs', 'core', ...LEAVES].includes(folderOf(to)),
    );
    expect(wrong.map(show)).toEqual([]);
  });

  it('daemon imports core, config, schedule and notify: its jobs run in processes of their own', () => {
    const wrong = OWN.filter(
      ({ from, to }) =>
        folderOf(from) === 'daemon' &&
        !['daemon', 'core', 'config', 'schedule', 'notify'].includes(folderOf(to)),
    );
    expect(wrong.map(show)).toEqual([]);
  });

  it('cli loads whatever is not core, config or its own only when a command needs it', () => {
    const wrong = FILES.filter((file) => folderOf(file) === 'cli').flatMap((file) =>
      staticValueImports(file).filter((to) => !['cli', 'core', 'config', 'tar'].includes(folderOf(to))),
    );
    expect(wrong).toEqual([]);
  });

  it('nobody imports cli but main, and nobody imports main', () => {
    const wrong = OWN.filter(
      ({ from, to }) =>
        to === 'main.ts' || (folderOf(to) === 'cli' && folderOf(from) !== 'cli' && from !== 'main.ts'),
    );
    expect(wrong.map(show)).toEqual([]);
  });

  it('no file imports itself in a circle of values', () => {
    const edges = new Map<string, string[]>();
    for (const { from, to, typeOnly } of OWN) {
      if (!typeOnly) edges.set(from, [...(edges.get(from) ?? []), to]);
    }
    const circles: string[] = [];
    const done = new Set<string>();
    const visit = (file: string, trail: string[]): void => {
      if (trail.includes(file)) circles.push([...trail.slice(trail.indexOf(file)), file].join(' -> '));
      if (done.has(file) || trail.includes(file)) return;
      for (const next of edges.get(file) ?? []) visit(next, [...trail, file]);
      done.add(file);
    };
    for (const file of FILES) visit(file, []);
    expect(circles).toEqual([]);
  });
});

describe('drivers are imported in one place', () => {
  it.each<[string, RegExp, RegExp]>([
    ['dockerode', /^(dockerode|docker-modem)/, /^engine\//],
    ['the AWS SDK', /^@(aws-sdk|smithy)\//, /^store\/s3[^/]*\.ts$/],
    ['ssh2', /^ssh2/, /^(store\/sftp[^/]*|engine\/connect-ssh[^/]*|core\/ssh-login)\.ts$/],
    ['commander', /^commander/, /^cli\//],
    ['cli-progress', /^cli-progress/, /^cli\//],
    ['zstd-codec', /^zstd-codec/, /^codec\//],
    ['age-encryption', /^age-encryption/, /^core\/age\.ts$/],
  ])('%s', (_, name, place) => {
    expect(packageUses(name, (file) => place.test(file))).toEqual([]);
  });

  it('lazily: no static import of dockerode, ssh2, the AWS SDK, zstd-codec or age-encryption as a value', () => {
    const wrong = FILES.flatMap((file) =>
      codeOf(file)
        .split('\n')
        .filter((line) =>
          /^import (?!type ).*'(dockerode|ssh2|@aws-sdk\/.*|zstd-codec|age-encryption)'/.test(line),
        )
        .map((line) => `${file}: ${line}`),
    );
    expect(wrong).toEqual([]);
  });
});

describe('the process', () => {
  it('process.env is read in config/env.ts alone', () => {
    expect(uses(/\bprocess\s*\.\s*env\b|\benv\b.*from 'node:process'/, (f) => f === 'config/env.ts')).toEqual(
      [],
    );
  });

  it('process.exit is called in main.ts alone', () => {
    expect(uses(/\bprocess\.(exit|abort|reallyExit)\b/, (f) => f === 'main.ts')).toEqual([]);
  });

  it('only cli and main print', () => {
    const prints = /\bconsole\.|\bprocess\.(stdout|stderr)\b/;
    expect(uses(prints, (f) => f === 'main.ts' || f.startsWith('cli/'))).toEqual([]);
  });
});

describe('the layout', () => {
  it('has no folder that the architecture does not name', () => {
    const folders = readdirSync(SRC, { withFileTypes: true }).filter((e) => e.isDirectory());
    const known = ['cli', 'daemon', 'jobs', 'core', ...LEAVES];
    expect(folders.map((e) => e.name).filter((name) => !known.includes(name))).toEqual([]);
  });

  it('has no file of more than 300 lines', () => {
    const long = FILES.map(
      (file) => [file, readFileSync(path.join(SRC, file), 'utf8').split('\n').length - 1] as const,
    );
    expect(long.filter(([, lines]) => lines > 300)).toEqual([]);
  });
});
