import { readFile } from 'node:fs/promises';
import type { AnyAuthMethod } from 'ssh2';
import { messageOf, VolbakError } from '../core/errors.ts';
import type { SshEndpoint } from './endpoint.ts';

type Ssh2 = typeof import('ssh2');

/** How to log in, in the order to try. */
export interface Logins {
  methods: AnyAuthMethod[];
  /** In words, for the error message. */
  tried: string[];
  skipped: string[];
}

/** The ways to log in: the key named on purpose, the agent, the default keys. */
export async function loginMethods(ssh2: Ssh2, endpoint: SshEndpoint): Promise<Logins> {
  const username = endpoint.user;
  const logins: Logins = { methods: [{ type: 'none', username }], tried: [], skipped: [] };
  const add = (key: Buffer | string, file: string) => {
    logins.methods.push({ type: 'publickey', username, key });
    logins.tried.push(file);
  };
  if (endpoint.keyFile) add(await namedKey(ssh2, endpoint.keyFile), endpoint.keyFile);
  if (endpoint.agentSocket) {
    logins.methods.push({ type: 'agent', username, agent: endpoint.agentSocket });
    logins.tried.push('ssh-agent');
  }
  for (const file of endpoint.keyFile ? [] : endpoint.defaultKeyFiles) {
    const key = await readFile(file).catch(() => undefined);
    if (!key) continue;
    const parsed = ssh2.utils.parseKey(key);
    if (parsed instanceof Error) logins.skipped.push(`${file} (${reasonOf(parsed)})`);
    else add(key, file);
  }
  return logins;
}

async function namedKey(ssh2: Ssh2, file: string): Promise<Buffer> {
  const key = await readFile(file).catch((cause) => {
    throw new VolbakError('CONFIG', `The ssh key ${file} cannot be read: ${messageOf(cause)}`, {
      hint: 'It is named by ?key= in the engine address.',
      cause,
    });
  });
  const parsed = ssh2.utils.parseKey(key);
  if (parsed instanceof Error) {
    throw new VolbakError('CONFIG', `The ssh key ${file} cannot be used: ${reasonOf(parsed)}.`, {
      hint: 'A key with a passphrase goes through ssh-agent: ssh-add it.',
      cause: parsed,
    });
  }
  return key;
}

function reasonOf(error: Error): string {
  return /encrypted|passphrase/i.test(error.message) ? 'it has a passphrase' : error.message;
}
