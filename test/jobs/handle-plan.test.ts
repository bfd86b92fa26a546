import { describe, expect, it } from 'vitest';
import type { ResolvedSource } from '../../src/engine/source.ts';
import { type HandleOptions, planHandle } from '../../src/jobs/handle/plan.ts';
import { parseRecipe } from '../../src/recipes/parse.ts';

const CONTAINER: ResolvedSource = {
  kind: 'container',
  name: 'db',
  container: { id: 'c0ffee', name: 'db', image: 'postgres:17', imageId: 'sha256:abc' },
  volumes: ['/data', '/logs'].map((destination) => ({
    name: destination.slice(1),
    anonymous: false,
    destinations: [destination],
    driver: 'local',
    driverOpts: {},
    maskedOpts: [],
    labels: {},
  })),
  leftOut: [],
};
/** As a recipe writes it. */
const WHERE = ['$', '{WHERE}'].join('');
const NOTHING: HandleOptions = { words: [], readWrite: false, network: false, env: {}, secrets: new Map() };

function recipe(handler: string) {
  const file = parseRecipe(`about: x\nhandler:\n${handler.replace(/^/gm, '  ')}`, 'r.yaml');
  return { name: 'r', handler: file.handler as NonNullable<typeof file.handler> };
}

const usage = (message: string | RegExp) =>
  expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(message) });

describe('planHandle', () => {
  it("takes image and arguments as `docker run` does: the image's entrypoint stays", () => {
    const plan = planHandle(CONTAINER, { ...NOTHING, words: ['busybox', 'ls', '-l'] });
    expect(plan).toMatchObject({
      image: 'busybox',
      args: ['ls', '-l'],
      entrypoint: undefined,
      readWrite: false,
      network: false,
    });
    expect(plan.env).toEqual({ VOLBAK_CONTAINER: 'db', VOLBAK_VOLUMES: '/data:/logs' });
  });

  it("a recipe without an image runs in the container's own, so its tools fit the server", () => {
    const plan = planHandle(CONTAINER, NOTHING, recipe('command: [pg_dump]\nnetwork: true\ncapture: a.sql'));
    expect(plan).toMatchObject({
      image: 'sha256:abc',
      entrypoint: ['pg_dump'],
      args: [],
      network: true,
      capture: 'a.sql',
    });
  });

  it('the command line comes before the recipe', () => {
    const own = {
      ...NOTHING,
      words: ['other', 'x'],
      env: { A: 'mine' },
      capture: 'b.sql',
      timeoutMs: 5,
      memory: 6,
      user: 'me',
    };
    const plan = planHandle(
      CONTAINER,
      own,
      recipe(
        'command: echo $1\nimage: one\nenvironment: { A: theirs, B: kept }\ncapture: a.sql\ntimeout: 1h\nmemory: 1g\nuser: root',
      ),
    );
    expect(plan).toMatchObject({
      image: 'other',
      args: ['x'],
      capture: 'b.sql',
      timeoutMs: 5,
      memory: 6,
      user: 'me',
    });
    expect(plan.entrypoint).toEqual(['/bin/sh', '-ec', 'echo $1', 'recipe']);
    expect(plan.env).toMatchObject({ A: 'mine', B: 'kept' });
  });

  it.each<[string, HandleOptions, string | undefined, RegExp]>([
    ['nothing to run', NOTHING, undefined, /neither an image nor a recipe/],
    [
      'a name that no volume can have',
      { ...NOTHING, words: ['i'], capture: '../x' },
      undefined,
      /captured file/,
    ],
    ['a name of one character', { ...NOTHING, words: ['i'], capture: 'x' }, undefined, /captured file/],
    [
      'the network of a stopped container',
      { ...NOTHING, words: ['i'], network: true, quiesce: 'stop' },
      undefined,
      /stopped answers nobody/,
    ],
    ['environment that is missing', NOTHING, 'required: [DATABASE]', /needs DATABASE/],
    [
      'a secret that is missing',
      NOTHING,
      'secrets: { key: { about: the key, required: true } }',
      /needs the secret 'key': the key/,
    ],
    [
      'a secret that nobody reads',
      { ...NOTHING, secrets: new Map([['kei', Buffer.from('x')]]) },
      'secrets: { key: { about: it } }',
      /knows no secret 'kei'/,
    ],
    [
      'a mount of something that was not given',
      NOTHING,
      `mounts: [{ source: "${WHERE}/x", target: /x }]`,
      /WHERE was not given/,
    ],
  ])('refuses %s', (_, options, handler, message) => {
    let error: unknown;
    try {
      planHandle(CONTAINER, options, handler === undefined ? undefined : recipe(handler));
    } catch (caught) {
      error = caught;
    }
    expect(error).toEqual(usage(message));
  });

  it('mounts directories and volumes, with what was given put in', () => {
    const options = { ...NOTHING, env: { WHERE: '/srv' } };
    const { mounts } = planHandle(
      CONTAINER,
      options,
      recipe(
        `mounts: [{ source: "${WHERE}/x", target: /x }, { source: cache, target: /y, read-only: true }]`,
      ),
    );
    expect(mounts).toEqual([
      { type: 'bind', source: '/srv/x', target: '/x', readOnly: false },
      { type: 'volume', source: 'cache', target: '/y', readOnly: true },
    ]);
  });
});
