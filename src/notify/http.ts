import type { Channel, HttpKind, News, NewsEvent } from './types.ts';

interface Request {
  url: string;
  headers: Record<string, string>;
  body: string;
}

type HttpChannel = Extract<Channel, { kind: HttpKind }>;

const json = (url: string, value: object, headers: Record<string, string> = {}): Request => ({
  url,
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify(value),
});

const BEARER = (token: string | undefined): Record<string, string> =>
  token === undefined ? {} : { authorization: `Bearer ${token}` };

const isGood = (event: NewsEvent) => event === 'success' || event === 'recovery';

/** Discord takes no longer message. */
const DISCORD_LIMIT = 2000;

const REQUESTS: Record<HttpKind, (channel: HttpChannel, news: News) => Request> = {
  webhook: ({ url, token }, { at, ...news }) => json(url, { ...news, at: at.toISOString() }, BEARER(token)),
  ntfy: ({ url, token }, { title, text, event }) => ({
    url,
    headers: {
      // Headers are ASCII; ntfy reads RFC 2047.
      title: `=?UTF-8?B?${Buffer.from(title).toString('base64')}?=`,
      priority: isGood(event) ? 'default' : 'high',
      ...BEARER(token),
    },
    body: text,
  }),
  slack: ({ url }, { title, text }) => json(url, { text: `*${title}*\n${text}` }),
  discord: ({ url }, { title, text }) =>
    json(url, { content: `**${title}**\n${text}`.slice(0, DISCORD_LIMIT), allowed_mentions: { parse: [] } }),
  gotify: ({ url, token }, { title, text, event }) =>
    json(
      `${url.replace(/\/$/, '')}/message`,
      { title, message: text, priority: isGood(event) ? 4 : 8 },
      token === undefined ? {} : { 'x-gotify-key': token },
    ),
  healthchecks: ({ url }, { event, text }) => ({
    url: isGood(event) ? url : `${url.replace(/\/$/, '')}/fail`,
    headers: {},
    body: text,
  }),
};

/** Raises what stands in the way, without the URL: it may be the secret itself. */
export async function sendHttp(channel: HttpChannel, news: News, signal: AbortSignal): Promise<void> {
  const { url, headers, body } = REQUESTS[channel.kind](channel, news);
  let response: Response;
  try {
    response = await fetch(url, { method: 'POST', headers, body, signal, redirect: 'error' });
  } catch (error) {
    const cause = (error as { cause?: { code?: string } }).cause?.code;
    throw new Error(signal.aborted ? 'no answer in time' : `cannot be reached${cause ? `: ${cause}` : ''}`);
  }
  await response.body?.cancel();
  if (!response.ok) throw new Error(`answered ${response.status}`);
}
