import { createServer, type IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { notify } from '../../src/notify/notify.ts';
import type { Channel, News } from '../../src/notify/types.ts';
import { afterwards } from '../support/temp.ts';

interface Got {
  path: string;
  headers: IncomingMessage['headers'];
  body: string;
}

/** A server that answers with these codes, one after another, the last one for ever. */
async function server(...codes: number[]): Promise<{ url: string; got: Got[] }> {
  const got: Got[] = [];
  const http = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    got.push({ path: request.url ?? '', headers: request.headers, body });
    response.writeHead(codes[Math.min(got.length, codes.length) - 1] ?? 200).end();
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  afterwards(async () => http.close());
  return { url: `http://127.0.0.1:${(http.address() as { port: number }).port}`, got };
}

const never = new AbortController().signal;
const NEWS: News = {
  event: 'failure',
  job: 'nightly',
  machine: 'höst',
  title: 'volbak on höst: nightly failed',
  text: 'There is "no" such container.',
  at: new Date('2026-11-21T03:00:00Z'),
};

async function told(channel: Channel, url: { got: Got[] }, news = NEWS): Promise<Got> {
  const failures: string[] = [];
  await notify(channel, news, never, (message) => failures.push(message), []);
  expect(failures).toEqual([]);
  expect(url.got).toHaveLength(1);
  return url.got[0] as Got;
}

describe('news go over HTTP as each service wants them', () => {
  it('webhook: JSON, with a token as bearer', async () => {
    const at = await server(204);
    const { body, headers } = await told({ kind: 'webhook', url: `${at.url}/hook`, token: 't' }, at);
    expect(headers).toMatchObject({ authorization: 'Bearer t', 'content-type': 'application/json' });
    expect(JSON.parse(body)).toEqual({ ...NEWS, at: '2026-11-21T03:00:00.000Z' });
  });

  it('ntfy: text, with a title that is no ASCII', async () => {
    const at = await server(200);
    const { body, headers, path } = await told({ kind: 'ntfy', url: `${at.url}/topic` }, at);
    expect([path, body, headers.priority]).toEqual(['/topic', NEWS.text, 'high']);
    const encoded = /^=\?UTF-8\?B\?(.*)\?=$/.exec(String(headers.title))?.[1] ?? '';
    expect(Buffer.from(encoded, 'base64').toString()).toBe(NEWS.title);
  });

  it('slack and discord: their JSON; nobody is called by @everyone, and nothing is too long', async () => {
    const slack = await server(200);
    expect(JSON.parse((await told({ kind: 'slack', url: slack.url }, slack)).body)).toEqual({
      text: `*${NEWS.title}*\n${NEWS.text}`,
    });
    const discord = await server(200);
    const long = { ...NEWS, text: `@everyone ${'x'.repeat(5000)}` };
    const message = JSON.parse((await told({ kind: 'discord', url: discord.url }, discord, long)).body);
    expect(message.content).toHaveLength(2000);
    expect(message.allowed_mentions).toEqual({ parse: [] });
  });

  it('gotify: its message, with the key in a header and not in the URL', async () => {
    const at = await server(200);
    const { path, headers, body } = await told({ kind: 'gotify', url: `${at.url}/`, token: 'key' }, at);
    expect([path, headers['x-gotify-key']]).toEqual(['/message', 'key']);
    expect(JSON.parse(body)).toEqual({ title: NEWS.title, message: NEWS.text, priority: 8 });
  });

  it.each([
    ['failure', '/ping/fail'],
    ['success', '/ping'],
  ] as const)('healthchecks: %s pings %s', async (event, path) => {
    const at = await server(200);
    expect((await told({ kind: 'healthchecks', url: `${at.url}/ping` }, at, { ...NEWS, event })).path).toBe(
      path,
    );
  });
});

describe('news that do not get through', () => {
  it('are told again, until they do', async () => {
    const at = await server(500, 503, 200);
    const failures: string[] = [];
    await notify({ kind: 'slack', url: at.url }, NEWS, never, (message) => failures.push(message), [1, 1, 1]);
    expect(at.got).toHaveLength(3);
    expect(failures).toEqual([]);
  });

  it('are given up in the end, without a word about the URL, which may be a secret', async () => {
    const at = await server(403);
    const failures: string[] = [];
    const tell = (url: string) =>
      notify({ kind: 'slack', url }, NEWS, never, (message) => failures.push(message), [1]);
    await tell(`${at.url}/hunter2`);
    await tell('http://127.0.0.1:1/hunter2');
    expect(failures).toHaveLength(2);
    expect(failures[0]).toBe('answered 403');
    expect(failures.join()).not.toContain('hunter2');
    expect(at.got).toHaveLength(2);
  });
});
