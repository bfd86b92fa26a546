import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/load.ts';
import { channelOf, type NotificationConfig, wants } from '../../src/config/notifications.ts';
import { tempDir } from '../support/temp.ts';

const parse = (text: string) => parseConfig(text, 'volbak.yaml', {}, () => undefined);
const of = (text: string) =>
  parse(`jobs: { a: { verify: {} } }\nnotifications: { n: { ${text} } }\n`).notifications
    .n as NotificationConfig;

describe('notifications in volbak.yaml', () => {
  it.each<[string, string]>([
    ['slack: { url: "ftp://x" }', 'it must be an http or https URL'],
    ['slack: {}', 'it must have either url or url_file'],
    ['slack: { url: "http://x", url_file: /x }', 'it must have either url or url_file'],
    ['gotify: { url: "http://x" }', 'it must have either token or token_file'],
    ['on: [failure]', 'it must have one of webhook,'],
    ['slack: { url: "http://x" }, ntfy: { url: "http://x" }', 'and only one'],
    ['slack: { url: "http://x" }, jobs: [b]', "unknown job 'b'; did you mean 'a'?"],
    ['slak: { url: "http://x" }', "unknown key 'slak'; did you mean 'slack'?"],
    ['email: { server: "http://x", from: a, to: [b] }', 'it must be like smtps://mail.example.org'],
  ])('{ %s } is refused: %s', (text, message) => {
    expect(() => of(text)).toThrow(message);
  });

  it('tell failure and recovery unless said, healthchecks failure and success; of all jobs or some', () => {
    const told = (text: string, job = 'a') =>
      (['failure', 'recovery', 'success'] as const).filter((event) => wants(of(text), event, job));
    expect(told('slack: { url: "http://x" }')).toEqual(['failure', 'recovery']);
    expect(told('healthchecks: { url: "http://x" }')).toEqual(['failure', 'success']);
    expect(told('slack: { url: "http://x" }, on: [success]')).toEqual(['success']);
    expect(told('slack: { url: "http://x" }, jobs: [a]', 'other')).toEqual([]);
  });

  it('take secrets from files', async () => {
    const file = path.join(await tempDir(), 'url');
    await writeFile(file, 'https://hooks.example.org/secret\n');
    expect(await channelOf(of(`slack: { url_file: ${file} }`))).toEqual({
      kind: 'slack',
      url: 'https://hooks.example.org/secret',
    });
    await expect(channelOf(of('slack: { url_file: /nowhere }'))).rejects.toMatchObject({ code: 'CONFIG' });
  });
});
