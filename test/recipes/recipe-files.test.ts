import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { VolbakError } from '../../src/core/errors.ts';
import { builtInRecipes, loadRecipe } from '../../src/recipes/load.ts';
import { parseRecipe } from '../../src/recipes/parse.ts';
import { recipeJsonSchema } from '../../src/recipes/schema.ts';

const root = path.resolve(import.meta.dirname, '../..');

function complaint(text: string): VolbakError {
  try {
    parseRecipe(text, 'my.yaml');
  } catch (error) {
    if (error instanceof VolbakError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('a recipe that is wrong is refused with exit 78, file, line and column', () => {
  it.each<[string, string, string]>([
    [
      'an unknown key',
      'about: x\nhandler:\n  comand: ls\n',
      "my.yaml:3:3: unknown key 'comand'; did you mean 'command'?",
    ],
    [
      'an unknown key in a list',
      'about: x\nhandler:\n  hooks:\n    before:\n      - command: ls\n        onError: fail\n',
      "my.yaml:6:9: unknown key 'onError'; did you mean 'on-error'?",
    ],
    [
      'an unknown key below a name of its own',
      'about: x\nhandler:\n  secrets:\n    password: { about: it, require: true }\n',
      "my.yaml:4:28: unknown key 'require'; did you mean 'required'?",
    ],
    [
      'a key that is like none',
      'about: x\nhandler: {}\nzzz: 1\n',
      "my.yaml:3:1: unknown key 'zzz'; known: about,",
    ],
    [
      'a wrong value',
      'about: x\nhandler:\n  timeout: soon\n',
      'my.yaml:3:12: handler.timeout: it must be a duration',
    ],
    ['a wrong type', 'about: x\nhandler:\n  network: maybe\n', 'my.yaml:3:12: handler.network:'],
    [
      'a wrong command',
      'about: x\nhandler:\n  command: 7\n',
      'my.yaml:3:12: handler.command: it must be a script',
    ],
    ['a key that is missing', 'handler:\n  network: true\n', 'my.yaml:1:1: about:'],
    [
      'neither handler nor backup nor drill',
      'about: x\n',
      'my.yaml:1:1: it needs a handler, a backup, a drill, or several of them',
    ],
    [
      'an unknown way to stand still',
      'about: x\nbackup:\n  quiesce: freeze\n',
      'my.yaml:3:12: backup.quiesce:',
    ],
    ['a key that comes twice', 'about: x\nabout: y\nhandler: {}\n', 'my.yaml:2:1: Map keys must be unique'],
    ['no YAML at all', 'about: "x\n', 'my.yaml:'],
    ['an empty file', '', 'my.yaml:1:1:'],
  ])('%s', (_, text, message) => {
    const error = complaint(text);
    expect(error.message).toContain(message);
    expect(error.exitCode).toBe(78);
  });

  it('tells several problems at once, in the order of the file', () => {
    const { message } = complaint('about: x\nhandler:\n  netwrok: true\n  memry: 1g\n');
    expect(message).toMatch(/my\.yaml:3:3: .*'network'.*; my\.yaml:4:3: .*'memory'/);
  });
});

describe('a recipe that is right', () => {
  it('has all that a recipe can say', () => {
    const { handler, drill } = parseRecipe(
      `about: all of it
handler:
  image: busybox
  command: [ls, -l]
  user: "1000"
  read-write: true
  network: true
  mounts: [{ source: /srv, target: /srv, read-only: true }]
  environment: { A: b }
  required: [C]
  secrets: { key: { about: a key, required: true } }
  timeout: 90s
  memory: 64m
  capture: out.txt
  quiesce: pause
  hooks:
    before: [{ command: sync, user: root, timeout: 5s, on-error: continue }]
    after: [{ command: [true] }]
drill:
  image: nginx
  command: run
  mount: /data
  health: { command: ok }
  timeout: 1m
  check: { command: really ok, timeout: 2m }
`.replace('[true]', '["true"]'),
      'all.yaml',
    );
    expect(handler).toMatchObject({
      timeout: 90_000,
      memory: 67_108_864,
      hooks: {
        before: [{ timeout: 5000, 'on-error': 'continue' }],
        after: [{ timeout: 60_000, 'on-error': 'fail' }],
      },
    });
    expect(drill).toMatchObject({ timeout: 60_000, check: { timeout: 120_000 } });
  });

  it('has safe defaults: read-only, no network, nothing is paused', () => {
    const { handler } = parseRecipe('about: x\nhandler: { image: busybox }\n', 'x.yaml');
    expect(handler).toMatchObject({
      'read-write': false,
      network: false,
      quiesce: 'none',
      mounts: [],
      secrets: {},
    });
  });
});

describe('recipes/*.yaml', () => {
  const files = readdirSync(path.join(root, 'recipes')).filter((name) => name.endsWith('.yaml'));

  it('are all read, each with the line by which editors find the schema', async () => {
    const recipes = await builtInRecipes();
    expect(recipes.map(({ name }) => `${name}.yaml`)).toEqual(files.sort());
    for (const { text, file } of recipes)
      expect(text.split('\n')[0], file).toBe('# yaml-language-server: $schema=../schema/recipe.schema.json');
  });

  it('are those that users look for', async () => {
    const of = (kind: 'handler' | 'drill') => async () =>
      (await builtInRecipes()).filter((recipe) => recipe[kind]).map(({ name }) => name);
    expect(await of('handler')()).toEqual(
      expect.arrayContaining([
        'postgres',
        'mariadb',
        'redis',
        'mongodb',
        'sqlite',
        'rsync',
        'checksums',
        'file-count',
      ]),
    );
    expect(await of('drill')()).toEqual(
      expect.arrayContaining(['postgres', 'mariadb', 'redis', 'sqlite', 'http']),
    );
  });

  it('are each executed by an end-to-end test', () => {
    const folder = path.join(root, 'test/e2e/recipes');
    const tests = readdirSync(folder).map((name) => readFileSync(path.join(folder, name), 'utf8'));
    const untested = files
      .map((name) => name.replace('.yaml', ''))
      .filter((name) => !tests.some((text) => new RegExp(`'--recipe',\\s*'${name}'`).test(text)));
    expect(untested).toEqual([]);
  });

  it('are found by alias; a name that is mistyped is answered with the nearest', async () => {
    expect((await loadRecipe('mysql')).name).toBe('mariadb');
    await expect(loadRecipe('postgre')).rejects.toMatchObject({
      code: 'CONFIG',
      hint: "Did you mean 'postgres'?",
    });
    await expect(loadRecipe('./no-such.yaml')).rejects.toMatchObject({ code: 'CONFIG' });
  });
});

describe('schema/recipe.schema.json', () => {
  it('is what `npm run schema` writes', () => {
    const written: unknown = JSON.parse(readFileSync(path.join(root, 'schema/recipe.schema.json'), 'utf8'));
    expect(written).toEqual(JSON.parse(JSON.stringify(recipeJsonSchema())));
  });
});
