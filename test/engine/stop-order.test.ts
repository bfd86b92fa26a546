import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type RunningContainer, stopOrder } from '../../src/engine/stop-order.ts';

const idOf = (name: string) => Buffer.from(name.padEnd(32, '.')).toString('hex');

/** A container of a Compose project; `dependsOn` as Compose writes it. */
function service(name: string, dependsOn = '', project = 'shop'): RunningContainer {
  const labels = {
    'com.docker.compose.project': project,
    'com.docker.compose.service': name,
    ...(dependsOn === '' ? {} : { 'com.docker.compose.depends_on': dependsOn }),
  };
  return { id: idOf(`${project}-${name}`), name: `${project}-${name}`, labels, modes: [] };
}

const plain = (name: string, ...modes: string[]): RunningContainer => ({
  id: idOf(name),
  name,
  labels: {},
  modes: ['default', ...modes],
});

const order = (all: RunningContainer[], ...chosen: RunningContainer[]) =>
  stopOrder(all, new Set(chosen.map(({ id }) => id))).map(({ name }) => name);

describe('the order in which containers are stopped', () => {
  it('who depends on another service goes first, in all forms of the label', () => {
    const db = service('db');
    const cache = service('cache', 'db:service_started:false');
    const web = service('web', 'cache:service_healthy:true,db:service_started:false');
    for (const all of [
      [db, cache, web],
      [web, db, cache],
      [cache, web, db],
    ])
      expect(order(all, db, web, cache)).toEqual(['shop-web', 'shop-cache', 'shop-db']);
  });

  it('also where what is between them is not chosen', () => {
    const db = service('db');
    const middle = service('middle', 'db');
    const app = service('a-app', 'middle:service_started:false');
    expect(order([db, middle, app], db, app)).toEqual(['shop-a-app', 'shop-db']);
  });

  it('services of the same name in another project have nothing to do with it', () => {
    const db = service('db');
    const other = service('a-app', 'db', 'other');
    const app = service('z-app', 'db');
    expect(order([db, other, app], db, app)).toEqual(['shop-z-app', 'shop-db']);
  });

  it('who shares a network, pid or ipc namespace goes before its owner, by id or name, and goes along unchosen', () => {
    const owner = plain('owner');
    const byId = plain('by-id', `container:${owner.id}`);
    const byName = plain('by-name', 'container:owner');
    const further = plain('a-further', `container:${byId.id.slice(0, 12)}`);
    const alone = plain('alone', 'container:nobody');
    const stopped = order([alone, byId, byName, further, owner], owner);
    expect(stopped.at(-1)).toBe('owner');
    expect([...stopped].sort()).toEqual(['a-further', 'by-id', 'by-name', 'owner']);
    expect(stopped.indexOf('a-further')).toBeLessThan(stopped.indexOf('by-id'));
    expect(order([byId, owner], byId)).toEqual(['by-id']);
  });

  it('circles end, and every chosen one is named once', () => {
    const a = service('a', 'b:service_started:false');
    const b = service('b', 'c:service_started:false');
    const c = service('c', 'a:service_started:false,c:service_started:false');
    expect(order([a, b, c], a, b, c).sort()).toEqual(['shop-a', 'shop-b', 'shop-c']);
  });

  it('whatever needs whom without circles: each goes before what it needs', () => {
    const graphs = fc.array(fc.array(fc.nat(14), { maxLength: 4 }), { minLength: 1, maxLength: 15 });
    fc.assert(
      fc.property(graphs, fc.integer(), (edges, salt) => {
        // An edge goes only to a smaller number; names are in another order.
        const label = (n: number) => `${(((n + 1) * 7919 + salt) >>> 0) % 1000}-${n}`;
        const needs = edges.map((to, n) => to.filter((m) => m < n));
        const all = needs.map((to, n) => service(label(n), to.map((m) => `${label(m)}:x:false`).join(',')));
        const stopped = order(all, ...all);
        expect(stopped).toHaveLength(all.length);
        needs.forEach((to, n) => {
          for (const m of to)
            expect(stopped.indexOf(`shop-${label(n)}`)).toBeLessThan(stopped.indexOf(`shop-${label(m)}`));
        });
      }),
    );
  });
});
